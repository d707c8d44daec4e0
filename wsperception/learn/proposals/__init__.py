"""Segment proposals, without a class and without training, and where they are kept."""
