"""What trains masks from boxes and ids while the network learns."""
