"""Panoptic labels from boxes and tags, and the network behind the semantic one."""
