"""Sizes of images on the command line."""

import argparse


def image_size(text: str) -> tuple[int, int]:
    """(height, width) of text as in 375x1242."""
    height, _, width = text.partition("x")
    try:
        return int(height), int(width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH as in 375x1242, got '{text}'") from None
