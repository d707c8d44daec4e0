"""The synthetic drive: a street seen from a car, with masks and ids that are exact.

`sequence` makes the frames, `write` the files, `silhouettes` the drives whose masks are taken from a real MOTS text.
"""
