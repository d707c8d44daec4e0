"""Masks and track ids from a camera, trained on cheap labels."""

__version__ = "0.1.0"
