"""Scores of masks and ids against ground truth: arrays or files in, a dataclass and a report out."""
