"""Where frames and ground truth come from."""
