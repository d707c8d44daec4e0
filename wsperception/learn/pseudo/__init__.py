"""Pseudo masks of boxes, made before training."""
