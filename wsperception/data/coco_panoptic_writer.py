"""Segment maps of a sequence written in COCO's panoptic format, with ids that stay the same over time."""

import json
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np

from wsperception.data.coco_panoptic import Categories, category_entries, segment_colours, segment_entries
from wsperception.data.drive.png import encode_png
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.rle import mots_class_numbers
from wsperception.types import LabelSpace, SegmentMap

FIRST_STUFF = 11
"""Category of the first stuff class: 10 means "ignore" in KITTI MOTS."""
TRACKS = 65536
"""Segment number = category * TRACKS + track id; stuff has track id 0."""


def category_numbers(labels: LabelSpace) -> tuple[int, ...]:
    """Category of each class, things before stuff: things as in KITTI MOTS, stuff from 11 on, as drives have them."""
    things = mots_class_numbers(labels)[: labels.thing_count]
    first = max(FIRST_STUFF, *(number + 1 for number in things))
    return (*things, *range(first, first + len(labels) - len(things)))


class PanopticWriter:
    """FOLDER/NAME/000000.png, ... and FOLDER/NAME.json, whole once the block ends without an error; a context manager.

    folder  made where it is missing
    name    of the sequence
    labels  things before stuff

    Frames are written one by one: of each, three numbers stay in memory. Every segment carries its score.
    """

    def __init__(self, folder: Path, name: str, labels: LabelSpace) -> None:
        self.path = folder / f"{name}.json"
        self._place, self._labels = folder / name, labels
        self._categories = np.array(category_numbers(labels), np.uint32)
        assert self._categories.max() < 256  # 24 bits hold a category and a track
        self._frames: list[tuple[int, int, int]] = []
        self._place.mkdir(parents=True)
        self._json: TextIO = self.path.open("w", encoding="utf-8")
        self._json.write('{"annotations": [')

    def add(self, index: int, segments: SegmentMap) -> None:
        """The segments of frame `index`."""
        numbers = self._numbers(segments.class_ids, self._tracks(segments))
        self._write(index, segments.ids, numbers, np.zeros(len(numbers), bool), segments.scores)

    def add_labels(self, index: int, labels: PanopticLabels) -> None:
        """The labels of frame `index`: the rows of things are their ids there, and a crowd has none.

        Nothing is said of what is void.
        """
        is_thing = labels.class_ids < self._labels.thing_count
        tracks = np.where(is_thing & ~labels.is_crowd, np.arange(len(labels.class_ids)), 0)
        numbers = self._numbers(labels.class_ids, tracks)
        self._write(index, labels.ids, numbers, labels.is_crowd, labels.scores)

    def _write(self, index: int, ids: np.ndarray, numbers: np.ndarray, crowd: np.ndarray, scores: np.ndarray) -> None:
        file = f"{index:06d}.png"
        colours = segment_colours(numbers[None])[0]  # (R, 3)
        (self._place / file).write_bytes(encode_png(np.take(colours, ids, axis=0)))
        listed = numbers.tolist()
        entries = segment_entries(ids, listed, (numbers // TRACKS).tolist(), crowd.tolist())
        of_number = dict(zip(listed, scores.tolist(), strict=True))
        segments = [entry | {"score": round(of_number[entry["id"]], 4)} for entry in entries]
        entry = {"image_id": index, "file_name": file, "segments_info": segments}
        self._json.write((",\n" if self._frames else "\n") + json.dumps(entry))
        self._frames.append((index, *ids.shape))

    def __enter__(self) -> "PanopticWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._json:
            if error is None:
                self._finish()

    def _finish(self) -> None:
        categories = category_entries(Categories(self._labels, tuple(self._categories.tolist())))
        self._json.write(f'\n],\n"categories": {json.dumps(categories)},\n"images": [')
        for position, (index, height, width) in enumerate(self._frames):
            image = {"id": index, "file_name": f"{self._place.name}/{index:06d}.png", "height": height, "width": width}
            self._json.write((",\n" if position else "\n") + json.dumps(image))
        self._json.write("\n]}\n")

    def _numbers(self, class_ids: np.ndarray, tracks: np.ndarray) -> np.ndarray:
        """(R,) uint32 segment numbers; 0 for void, the first row."""
        numbers: np.ndarray = self._categories[class_ids] * TRACKS + tracks.astype(np.uint32)
        numbers[0] = 0
        return numbers

    def _tracks(self, segments: SegmentMap) -> np.ndarray:
        """(R,) track ids: things without a track get ids that no track of the frame has."""
        tracks = segments.track_ids.copy()
        is_thing = (segments.class_ids >= 0) & (segments.class_ids < self._labels.thing_count)
        unknown = np.flatnonzero((tracks == 0) & is_thing)
        living = set(tracks.tolist())
        free = (number for number in range(TRACKS - 1, 0, -1) if number not in living)
        tracks[unknown] = [next(free) for _ in unknown]
        return tracks
