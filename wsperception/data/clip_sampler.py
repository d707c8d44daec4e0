"""The clips of a training set, by number: which frames each shows, and how they are changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from wsperception.data.augmentation import (
    Augmentation,
    aimed,
    augment,
    draw_augmentation,
    moved_panoptic,
    moved_segments,
)  # fmt: skip
from wsperception.data.clips import ClipFrame, ClipSettings
from wsperception.data.frame_store import FrameStore
from wsperception.data.labelled_frames import LabelledFrame
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.data.segments import Segments


class ClipSampler:
    """The training set as an endless, numbered list of clips: number -> frames is a pure function of the seed.

    So the order of data needs no state: a resumed run, or one with another number of processes, reads the same clips.
    Every labelled frame opens one clip per epoch; each epoch has its own permutation. `segments` gives the proposals of
    a row of the store, at the store's scale; `panoptic` the labels of a row, at the image's own.
    """

    def __init__(
        self,
        frames: Sequence[LabelledFrame],
        store: FrameStore,
        settings: ClipSettings,
        seed: int,
        segments: Callable[[int], Segments] | None = None,
        panoptic: Callable[[int], PanopticLabels] | None = None,
    ) -> None:
        assert len(frames) == len(store) > 0
        self._frames, self._store, self._settings, self._seed = frames, store, settings, seed
        self._segments, self._panoptic = segments, panoptic
        sequences = np.array([frame.sequence for frame in frames])
        self._first = np.searchsorted(sequences, sequences, side="left")  # frames are in order of their sequences
        self._end = np.searchsorted(sequences, sequences, side="right")
        self._order = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Clips per epoch."""
        return len(self._frames)

    def rows(self, number: int) -> list[int]:
        """Rows of the training set that clip `number` shows."""
        random = self._random(number)
        return self._draw_rows(number, random)

    def clip(self, number: int, position: int = 0) -> list[ClipFrame]:
        """The frames of clip `number`; `position` becomes their `clip`."""
        random = self._random(number)
        rows = self._draw_rows(number, random)
        change = draw_augmentation(random, self._settings)
        places = _places(self._frames[rows[0]])
        if len(places) and random.random() < self._settings.focus:
            box = places[random.integers(len(places))]
            change = aimed(change, box, self._store[rows[0]], self._settings)
        return [self._sample(row, change, position) for row in rows]

    def _sample(self, row: int, change: Augmentation, position: int) -> ClipFrame:
        stored = self._store[row]
        sample = augment(self._frames[row], stored, change, self._settings, position)
        if self._segments is not None:
            segments = moved_segments(self._segments(row), stored, change, self._settings)
            sample = replace(sample, segments=segments)
        if self._panoptic is not None:
            labels = moved_panoptic(self._panoptic(row), stored, change, self._settings)
            sample = replace(sample, panoptic=labels)
        return sample

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, 1, number])

    def _draw_rows(self, number: int, random: np.random.Generator) -> list[int]:
        epoch, place = divmod(number, len(self))
        known, order = self._order
        if known != epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(len(self))
            self._order = (epoch, order)
        anchor = int(order[place])
        first, last = int(self._first[anchor]), int(self._end[anchor]) - 1
        step = int(random.integers(1, self._settings.max_gap + 1)) * (1 if random.random() < 0.5 else -1)
        reach = step * (self._settings.frames - 1)
        if not first <= anchor + reach <= last:
            step = -step
        rows = anchor + step * np.arange(self._settings.frames)
        return [int(row) for row in np.clip(rows, first, last)]  # a sequence shorter than the gap repeats its ends


def _places(frame: LabelledFrame) -> np.ndarray:
    """(N, 4) float32: the boxes of the objects, or their points as boxes without an area."""
    if frame.weak is None or frame.weak.points is None:
        return frame.boxes
    return np.tile(frame.weak.points, 2)
