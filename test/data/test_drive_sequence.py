import hashlib
from itertools import pairwise

import numpy as np
import pytest

from wsperception.data.drive.canvas import SEMANTICS
from wsperception.data.drive.sequence import CAR, IGNORE_ID, PEDESTRIAN, Drive, DriveFrame
from wsperception.data.drive.settings import DriveSettings


def small(seed: int, scene: str = "any", frames: int = 4, **more: object) -> DriveSettings:
    return DriveSettings(seed=seed, frames=frames, height=125, width=414, scene=scene, **more)  # type: ignore[arg-type]


def digest(frames: list[DriveFrame]) -> str:
    total = hashlib.sha256()
    for frame in frames:
        for array in (frame.image, frame.object_ids, frame.semantic, frame.ids, frame.boxes, frame.visible):
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


@pytest.fixture(scope="module")
def crowd() -> list[DriveFrame]:
    return list(Drive(small(3, "crowd", frames=12)).frames())


@pytest.fixture(scope="module")
def parked() -> list[DriveFrame]:
    return list(Drive(small(5, "parked", frames=12)).frames())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first = digest(list(Drive(small(7)).frames()))
    assert first == digest(list(Drive(small(7)).frames()))
    assert first != digest(list(Drive(small(8)).frames()))
    assert first != digest(list(Drive(small(7), sequence=1).frames()))


def test_frames_are_numbered_and_stamped():
    # 4 Hz is 250 ms apart.
    frames = list(Drive(small(2, frames=3, rate_hz=4.0)).frames())
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.stamp_ns for frame in frames] == [0, 250_000_000, 500_000_000]


def test_shapes_and_types(crowd):
    for frame in crowd:
        assert (frame.image.shape, frame.image.dtype) == ((125, 414, 3), np.uint8)
        assert (frame.object_ids.shape, frame.object_ids.dtype) == ((125, 414), np.uint16)
        assert (frame.semantic.shape, frame.semantic.dtype) == ((125, 414), np.uint8)
        assert frame.boxes.shape == (len(frame.ids), 4)
        assert frame.ids.dtype == frame.class_ids.dtype == np.int32


def test_ids_say_their_class_and_every_listed_object_is_visible(crowd, parked):
    seen = set()
    for frame in crowd + parked:
        assert (np.diff(frame.ids) > 0).all()
        assert (frame.ids // 1000 == frame.class_ids).all()
        on_the_map = set(np.unique(frame.object_ids).tolist()) - {0, IGNORE_ID}
        assert on_the_map == set(frame.ids.tolist())
        seen |= set(frame.class_ids.tolist())
    assert seen == {CAR, PEDESTRIAN}


def test_masks_agree_with_the_semantic_map(crowd, parked):
    names = {CAR: "car", PEDESTRIAN: "pedestrian"}
    for frame in crowd + parked:
        for number, class_id in zip(frame.ids.tolist(), frame.class_ids.tolist(), strict=True):
            assert (frame.semantic[frame.object_ids == number] == SEMANTICS.index(names[class_id])).all()


def test_boxes_contain_the_masks(crowd, parked):
    for frame in crowd + parked:
        for number, (x0, y0, x1, y1) in zip(frame.ids.tolist(), frame.boxes.tolist(), strict=True):
            rows, columns = np.nonzero(frame.object_ids == number)
            assert x0 <= columns.min() and columns.max() + 1 <= x1 <= 414
            assert y0 <= rows.min() and rows.max() + 1 <= y1 <= 125


def test_shares_are_shares(crowd, parked):
    for frame in crowd + parked:
        assert ((frame.visible > 0) & (frame.visible <= 1)).all()
        assert ((frame.truncated >= 0) & (frame.truncated < 1)).all()


def test_ids_stay_with_their_object():
    # Ten frames per second: a mask overlaps the box it had in the frame before, and few ids change between frames.
    # Standing objects near the road move fast in the image, so the boxes are only asked to touch.
    frames = list(Drive(small(11, "traffic", frames=15)).frames())
    kept = 0
    for before, after in pairwise(frames):
        old = dict(zip(before.ids.tolist(), before.boxes, strict=True))
        for number, box in zip(after.ids.tolist(), after.boxes, strict=True):
            if number in old:
                kept += 1
                assert (np.minimum(box[2:], old[number][2:]) > np.maximum(box[:2], old[number][:2])).all()
    assert kept > 0.8 * sum(len(frame.ids) for frame in frames[1:])


def test_instance_numbers_are_unique_across_classes(crowd):
    ids = np.unique(np.concatenate([frame.ids for frame in crowd]))
    assert len(np.unique(ids % 1000)) == len(ids)


def test_ignore_region_is_there_and_holds_lorries():
    settings = small(4, "traffic", frames=60, rate_hz=2.0)
    lorry = SEMANTICS.index("other vehicle")
    lorries = 0
    for frame in Drive(settings).frames():
        assert frame.ignore_mask.any() and len(frame.ignore_boxes) > 0
        inside = frame.object_ids[frame.semantic == lorry]
        lorries += len(inside)
        assert (inside == IGNORE_ID).all()
    assert lorries > 0


def test_street_has_road_below_and_sky_above(parked):
    road, sky = SEMANTICS.index("road"), SEMANTICS.index("sky")
    for frame in parked:
        assert (frame.semantic[-5:] == sky).sum() == 0
        assert (frame.semantic[90:] == road).mean() > 0.15
        assert (frame.semantic[:55] == road).sum() == 0


def test_the_longest_drive_runs_out_of_ids_into_the_ignore_region(monkeypatch):
    monkeypatch.setattr("wsperception.data.drive.sequence.MOST_OBJECTS", 2)
    frames = list(Drive(small(3, "crowd", frames=12)).frames())
    assert len(np.unique(np.concatenate([frame.ids for frame in frames]))) == 2


@pytest.mark.parametrize("size", [(48, 64), (100, 300), (240, 200)])
def test_other_sizes(size):
    settings = DriveSettings(seed=1, frames=2, height=size[0], width=size[1])
    for frame in Drive(settings).frames():
        assert frame.image.shape == (*size, 3)
        assert frame.object_ids.shape == size
