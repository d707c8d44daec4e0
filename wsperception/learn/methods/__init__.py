"""The methods, by name. A method is a module with `Settings` and `build(settings, class_count, supervision)`, whose
result gives weighted loss terms and figures of a batch: see any of them.

`SUPERVISION`, where it is there, names what the method learns from, its default first; otherwise it takes "weak" (boxes
and ids) and "full" (masks). A kind of label that is new to training gets a field in WeakLabels, is read in
`data.labelled_frames` and moved with the image in `data.clips.augment`. A method whose Settings have `segments` and
`largest_segment` is given segment proposals with each frame. Of a method whose Settings have `stuff_classes` so many of
the classes, the last ones, are stuff.
"""

from types import ModuleType

from wsperception.learn.methods import community, jtsm, panoptic, wise, wsmots

METHODS: dict[str, ModuleType] = {
    "wsmots": wsmots, "wise": wise, "community": community, "jtsm": jtsm, "panoptic": panoptic,
}  # fmt: skip


def supervisions(method: str) -> tuple[str, ...]:
    """What a method may learn from, its default first."""
    kinds: tuple[str, ...] = getattr(METHODS[method], "SUPERVISION", ("weak", "full"))
    return kinds
