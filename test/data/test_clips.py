from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.data.augmentation import (
    Augmentation,
    aimed,
    augment,
    draw_augmentation,
    moved_segments,
    no_augmentation,
)
from wsperception.data.clip_sampler import ClipSampler
from wsperception.data.clips import ClipFrame, ClipSettings
from wsperception.data.frame_store import FrameStore, StoredFrame
from wsperception.data.labelled_frames import IGNORE_ROW, FrameMasks, LabelledFrame
from wsperception.data.segments import OUTSIDE, Segments
from wsperception.errors import InputError
from wsperception.geometry import tight_boxes
from wsperception.preprocess import PADDING, Letterbox, fit, letterbox
from wsperception.settings import from_mapping
from wsperception.types import LabelSpace, WeakLabels

IMAGE_SIZE = (40, 100)
SETTINGS = ClipSettings(input_size=(32, 64), stored_scale=1.0, min_side=2.0, min_area=4, focus=0.0)
"""The image (40, 100) fits the input (32, 64) at 0.64: the content is (26, 64)."""


def labelled(boxes: list[list[float]], ignore: list[list[float]], path: Path = Path("a.png")) -> LabelledFrame:
    count = len(boxes)
    return LabelledFrame(
        path,
        0,
        0,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.arange(count, dtype=np.int64) % 2,
        np.arange(100, 100 + count, dtype=np.int64),
        np.array(ignore, np.float32).reshape(-1, 4),
        None,
    )


def stored(image: np.ndarray, label_map: np.ndarray | None = None) -> StoredFrame:
    """A frame kept at its own size."""
    size = (image.shape[0], image.shape[1])
    return StoredFrame(image, label_map, Letterbox(size, size, 1.0, 1.0))


def grey(value: int = 50) -> np.ndarray:
    return np.full((*IMAGE_SIZE, 3), value, np.uint8)


def rectangles(boxes: list[list[int]]) -> np.ndarray:
    """(40, 100) uint16 label map; later rows lie on top."""
    rows = np.zeros(IMAGE_SIZE, np.uint16)
    for row, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        rows[y0:y1, x0:x1] = row
    return rows


def change(flip: bool = False, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> Augmentation:
    return replace(no_augmentation(), flip=flip, scale=scale, shift=shift)


def test_unchanged_is_what_the_network_sees_at_inference() -> None:
    image = np.random.default_rng(0).integers(0, 256, (*IMAGE_SIZE, 3), np.uint8)
    buffer, placing = letterbox(image, (32, 64))
    content = buffer[: placing.content_size[0], : placing.content_size[1]]
    frame = augment(labelled([], []), StoredFrame(content, None, placing), no_augmentation(), SETTINGS, 3)
    np.testing.assert_array_equal(frame.image, buffer)
    assert frame.clip == 3
    assert frame.boxes.shape == (0, 4)
    assert frame.masks is None
    assert frame.ignore_mask is None


def test_boxes_by_hand() -> None:
    # Scale 0.64 in x; the content is 26 = round(25.6) rows of 40, so 0.65 in y.
    frame = augment(labelled([[10, 10, 50, 30]], [[0, 0, 20, 40]]), stored(grey()), change(), SETTINGS, 0)
    np.testing.assert_allclose(frame.boxes, [[6.4, 6.5, 32, 19.5]], rtol=1e-6)
    np.testing.assert_allclose(frame.ignore_boxes, [[0, 0, 12.8, 26]], rtol=1e-6)
    # Mirrored about the middle of the content, x = 32: 6.4 -> 57.6, 32 -> 32.
    frame = augment(labelled([[10, 10, 50, 30]], []), stored(grey()), change(flip=True), SETTINGS, 0)
    np.testing.assert_allclose(frame.boxes, [[32, 6.5, 57.6, 19.5]], rtol=1e-6)


def test_zoom_in_crops_where_the_shift_says() -> None:
    # Scale 2: content 52 x 128 in a window of 32 x 64. Shift (1, 0.5) shows its right end and middle: origin (64, 10).
    zoomed = change(scale=2.0, shift=(1.0, 0.5))
    labels = labelled([[50, 10, 80, 20], [0, 0, 30, 10]], [[0, 0, 40, 40]])
    frame = augment(labels, stored(grey()), zoomed, SETTINGS, 0)
    # x: 50 * 1.28 - 64 = 0, 80 * 1.28 - 64 = 38.4; y: 10 * 1.3 - 10 = 3, 20 * 1.3 - 10 = 16. The others are outside.
    np.testing.assert_allclose(frame.boxes, [[0, 3, 38.4, 16]], atol=1e-4)
    assert frame.track_keys.tolist() == [100]
    assert frame.ignore_boxes.shape == (0, 4)


def test_zoom_out_pads_around_the_content() -> None:
    # Scale 0.5: content 13 x 32 in 32 x 64. Shift (0.5, 1): left 0.5 * 32 = 16, top 1 * 19 = 19.
    zoomed = change(scale=0.5, shift=(0.5, 1.0))
    frame = augment(labelled([[0, 0, 100, 40]], []), stored(grey()), zoomed, SETTINGS, 0)
    np.testing.assert_allclose(frame.boxes, [[16, 19, 48, 32]], atol=1e-4)
    assert (frame.image[20:31, 17:47] == 50).all()
    assert (frame.image[:18] == PADDING).all()
    assert (frame.image[:, :15] == PADDING).all()
    assert (frame.image[:, 49:] == PADDING).all()


def test_an_object_with_too_little_left_is_ignored() -> None:
    # Scale 2, shift (0, 0): the window ends at 64 / 1.28 = 50. Of [40, 10, 100, 20] one sixth is left: below 0.2.
    # Of [45, 10, 60, 20] one third is left. [10, 10, 11, 30] is 1.28 wide: below min_side.
    boxes: list[list[float]] = [[40, 10, 100, 20], [45, 10, 60, 20], [10, 10, 11, 30], [60, 0, 70, 9]]
    frame = augment(labelled(boxes, [[0, 0, 5, 5]]), stored(grey()), change(scale=2.0), SETTINGS, 0)
    np.testing.assert_allclose(frame.boxes, [[57.6, 13, 64, 26]], atol=1e-4)
    assert frame.track_keys.tolist() == [101]
    assert frame.class_ids.tolist() == [1]
    expected = [[0, 0, 6.4, 6.5], [51.2, 13, 64, 26], [12.8, 13, 14.08, 32]]
    np.testing.assert_allclose(frame.ignore_boxes, expected, atol=1e-4)


def test_masks_go_with_their_boxes() -> None:
    boxes = [[10, 10, 50, 30], [40, 15, 60, 25]]
    label_map = rectangles(boxes)
    label_map[:, 90:] = IGNORE_ROW
    frame = augment(labelled(boxes, []), stored(grey(), label_map), change(flip=True), SETTINGS, 0)
    masks, ignore_mask = frame.masks, frame.ignore_mask
    assert masks is not None
    assert ignore_mask is not None
    assert masks.shape == (2, 32, 64)
    assert not (masks[0] & masks[1]).any()
    # Mirrored: ignored columns 90-100 become 0-10, times 0.64.
    assert ignore_mask[:26, :6].all()
    assert not ignore_mask[:, 7:].any()
    assert not masks[:, 26:].any()
    np.testing.assert_allclose(tight_boxes(masks[1].astype(np.uint16), 2)[1], frame.boxes[1], atol=0.51)


def test_an_object_without_pixels_is_ignored() -> None:
    # The second object lies exactly behind the third, which is painted later.
    boxes = [[10, 10, 50, 30], [60, 10, 80, 30], [60, 10, 80, 30]]
    frame = augment(labelled(boxes, []), stored(grey(), rectangles(boxes)), change(), SETTINGS, 0)
    assert frame.track_keys.tolist() == [100, 102]
    assert frame.masks is not None
    assert len(frame.masks) == 2
    assert frame.masks.any(axis=(1, 2)).all()
    np.testing.assert_allclose(frame.ignore_boxes, [[38.4, 6.5, 51.2, 19.5]], atol=1e-4)


@pytest.mark.parametrize("seed", range(30))
def test_mask_and_box_agree_under_any_change(seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes = [[12, 8, 33, 31], [55, 4, 90, 36]]
    settings = replace(SETTINGS, scale_low=0.5, scale_high=2.0)
    drawn = draw_augmentation(random, settings)
    frame = augment(labelled(boxes, []), stored(grey(), rectangles(boxes)), drawn, settings, 0)
    assert frame.masks is not None
    for mask, box in zip(frame.masks, frame.boxes, strict=True):
        np.testing.assert_allclose(tight_boxes(mask.astype(np.uint16), 2)[1], box, atol=0.51)
    assert (frame.boxes[:, :2] >= 0).all()
    assert (frame.boxes[:, 2:] <= [64, 32]).all()


def test_pixels_and_boxes_move_alike() -> None:
    # A white square on black, found again at its box, to half a pixel, after a flip and an uneven zoom.
    image = np.zeros((*IMAGE_SIZE, 3), np.uint8)
    image[10:30, 20:50] = 255
    drawn = change(flip=True, scale=1.3, shift=(0.2, 0.7))
    frame = augment(labelled([[20, 10, 50, 30]], []), stored(image), drawn, SETTINGS, 0)
    # 127: at half brightness, so that the edge found is the edge drawn; padding (114) lies below.
    bright = (frame.image[..., 0] > 127).astype(np.uint16)
    np.testing.assert_allclose(tight_boxes(bright, 2)[1], frame.boxes[0], atol=0.51)


def test_colours_by_hand() -> None:
    table = np.stack([np.arange(256), np.minimum(np.arange(256) + 10, 255), np.arange(256)], axis=1).astype(np.uint8)
    image = np.full((*IMAGE_SIZE, 3), (30, 60, 90), np.uint8)
    drawn = replace(no_augmentation(), colour=table)
    assert augment(labelled([], []), stored(image), drawn, SETTINGS, 0).image[5, 5].tolist() == [30, 70, 90]
    # Without colour: 0.299 * 30 + 0.587 * 70 + 0.114 * 90 = 60.3 in each channel.
    drawn = replace(drawn, grey=0.0)
    assert augment(labelled([], []), stored(image), drawn, SETTINGS, 0).image[5, 5].tolist() == [60, 60, 60]


def test_draws_stay_in_the_settings() -> None:
    settings = replace(SETTINGS, scale_low=0.8, scale_high=1.25, flip=0.0, saturation=0.3)
    drawn = [draw_augmentation(np.random.default_rng(seed), settings) for seed in range(200)]
    scales = np.array([entry.scale for entry in drawn])
    assert 0.8 <= scales.min() < 0.85
    assert 1.2 < scales.max() <= 1.25
    assert not any(entry.flip for entry in drawn)
    assert all(0.7 <= entry.grey <= 1.3 for entry in drawn)


def test_a_window_is_laid_over_the_box() -> None:
    # Window (16, 20) of content (26, 64): room -44 and -10. The centre of [40, 10, 60, 20] is (32, 9.75); it shall
    # lie at (0.5 * 20, 0.25 * 16) = (10, 4): left 10 - 32 = -22 = 0.5 * -44, top 4 - 9.75 = -5.75 = 0.575 * -10.
    settings = replace(SETTINGS, crop=(16, 20))
    frame = stored(grey())
    box = np.array([40, 10, 60, 20], np.float32)
    found = aimed(change(shift=(0.5, 0.25)), box, frame, settings)
    assert found.shift == pytest.approx((0.5, 0.575))
    moved = augment(labelled([[40, 10, 60, 20]], []), frame, found, settings, 0)
    assert moved.image.shape == (16, 20, 3)
    np.testing.assert_allclose(moved.boxes, [[3.6, 0.75, 16.4, 7.25]], atol=1e-4)
    # At the border the window stays on the content.
    assert aimed(change(shift=(0.5, 0.5)), np.array([0, 0, 4, 4], np.float32), frame, settings).shift == (0.0, 0.0)
    # A mirrored box is found on the other side: centre 64 - 32 * 0.5 = 48 -> left 10 - 48 = -38.
    flipped = aimed(change(flip=True, shift=(0.5, 0.25)), np.array([20, 10, 30, 20], np.float32), frame, settings)
    assert flipped.shift[0] == pytest.approx(38 / 44)


def test_settings_are_checked() -> None:
    assert ClipSettings().stored_size == (480, 1560)
    with pytest.raises(InputError, match=r"data: flip: expected 0 to 1, got 1\.5"):
        from_mapping(ClipSettings, {"flip": 1.5}, "data")


# ---- the sampler, over real files ----


def files(folder: Path, lengths: tuple[int, ...]) -> list[LabelledFrame]:
    frames = []
    mask = np.zeros(IMAGE_SIZE, bool)
    mask[10:30, 20:60] = True
    for sequence, length in enumerate(lengths):
        for number in range(length):
            path = folder / f"{sequence}-{number}.png"
            cv2.imwrite(str(path), np.full((*IMAGE_SIZE, 3), 10 * number + 1, np.uint8))
            frame = labelled([[20, 10, 60, 30]], [], path)
            masks = FrameMasks(IMAGE_SIZE, (rle.encode(mask),), ())
            frames.append(
                replace(frame, sequence=sequence, number=number, masks=masks, track_keys=np.array([sequence], np.int64))
            )
    return frames


def sampler(folder: Path, lengths: tuple[int, ...] = (7, 3, 1), seed: int = 4, **changes: object) -> ClipSampler:
    frames = files(folder, lengths)
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return ClipSampler(frames, FrameStore(frames, settings.stored_size, True, None), settings, seed)


def test_every_frame_opens_one_clip_per_epoch(tmp_path: Path) -> None:
    clips = sampler(tmp_path)
    epochs = [[clips.rows(number)[0] for number in range(first, first + 11)] for first in (0, 11)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(11))
    assert epochs[0] != epochs[1]


def test_frames_of_a_clip_are_near_each_other_in_one_sequence(tmp_path: Path) -> None:
    clips = sampler(tmp_path, max_gap=2)
    bounds = [(0, 7), (7, 10), (10, 11)]
    gaps = set()
    for number in range(110):
        first, second = clips.rows(number)
        low, high = next(bound for bound in bounds if bound[0] <= first < bound[1])
        assert low <= second < high
        gaps.add(second - first)
    assert gaps == {-2, -1, 0, 1, 2}  # 0: the sequence of one frame


def test_three_frames_at_equal_steps(tmp_path: Path) -> None:
    clips = sampler(tmp_path, lengths=(9,), frames=3, max_gap=2)
    for number in range(30):
        first, second, third = clips.rows(number)
        assert second - first == third - second != 0


def test_a_clip_is_a_pure_function_of_seed_and_number(tmp_path: Path) -> None:
    ours, theirs, other = sampler(tmp_path), sampler(tmp_path), sampler(tmp_path, seed=5)
    for number in (25, 3, 14):  # in any order, over epochs
        for a, b in zip(ours.clip(number, 2), theirs.clip(number, 2), strict=True):
            assert_equal(a, b)
        assert {frame.clip for frame in ours.clip(number, 2)} == {2}
    assert [ours.rows(number) for number in range(11)] != [other.rows(number) for number in range(11)]


def test_all_frames_of_a_clip_change_alike(tmp_path: Path) -> None:
    clips = sampler(tmp_path, lengths=(9,), scale_low=0.7, scale_high=1.4)
    seen = set()
    for number in range(9):
        first, second = clips.clip(number)  # the object stands still, so its boxes are equal under equal changes
        np.testing.assert_array_equal(first.boxes, second.boxes)
        np.testing.assert_array_equal(first.track_keys, second.track_keys)
        seen.add(tuple(first.boxes.ravel().tolist()))
    assert len(seen) == 9


def test_focus_keeps_an_object_in_the_window(tmp_path: Path) -> None:
    clips = sampler(tmp_path, lengths=(9,), crop=(16, 16), focus=1.0, scale_low=1.0, scale_high=1.5)
    for number in range(18):
        assert len(clips.clip(number)[0].boxes) + len(clips.clip(number)[0].ignore_boxes) == 1


def test_stored_size_does_not_move_anything(tmp_path: Path) -> None:
    large, small = sampler(tmp_path, stored_scale=1.5), sampler(tmp_path, stored_scale=0.75)
    for number in range(11):
        for a, b in zip(large.clip(number), small.clip(number), strict=True):
            np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-4)


def assert_equal(a: ClipFrame, b: ClipFrame) -> None:
    for name in ("image", "boxes", "class_ids", "track_keys", "masks", "ignore_boxes", "ignore_mask"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_the_letterbox_that_the_comments_use() -> None:
    placing = fit(IMAGE_SIZE, (32, 64))
    assert (placing.scale_x, placing.scale_y) == pytest.approx((0.64, 0.65))


def pointed(*points: tuple[float, float]) -> LabelledFrame:
    weak = WeakLabels(
        points=np.array(points, np.float32).reshape(-1, 2), point_classes=np.arange(len(points), dtype=np.int32)
    )
    return replace(labelled([], [[0, 0, 10, 20]]), weak=weak)


def test_points_move_with_the_image() -> None:
    image = grey()
    # At scale 0.64 (in y 26 / 40 = 0.65): (50, 20) -> (32, 13); zoomed by 2 and shifted to the far right and bottom the
    # content is (52, 128), its last 32 rows and 64 columns are seen: x 2 * 32 - 64 = 0, y 2 * 13 - 20 = 6.
    frame = pointed((50.0, 20.0), (99.0, 39.0), (10.0, 20.0))
    seen = augment(frame, stored(image), no_augmentation(), SETTINGS, 0)
    assert seen.weak is not None and seen.weak.points is not None
    np.testing.assert_allclose(seen.weak.points, [[32, 13], [63.36, 25.35], [6.4, 13]], rtol=1e-5)
    assert seen.ignore_boxes.tolist() == [pytest.approx([0, 0, 6.4, 13])]
    seen = augment(frame, stored(image), change(flip=True), SETTINGS, 0)
    np.testing.assert_allclose(seen.weak.points, [[32, 13], [0.64, 25.35], [57.6, 13]], rtol=1e-5)
    seen = augment(frame, stored(image), change(scale=2.0, shift=(1.0, 1.0)), SETTINGS, 0)
    np.testing.assert_allclose(seen.weak.points, [[0, 6], [62.72, 30.7]], rtol=1e-5, atol=1e-4)
    assert seen.weak.point_classes.tolist() == [0, 1]  # the third lies to the left


def test_segments_move_with_the_image() -> None:
    superpixels = np.repeat(np.arange(100, dtype=np.uint16)[None] // 50, 40, axis=0)
    segments = Segments(superpixels, np.eye(2, dtype=bool), np.ones(2, np.float32))
    seen = moved_segments(segments, stored(grey()), change(flip=True), SETTINGS).superpixels
    # 26 rows of content; mirrored, superpixel 1 is on the left.
    assert (seen[:26, :32] == 1).all() and (seen[:26, 32:] == 0).all()
    assert (seen[26:] == OUTSIDE).all()


def test_a_sampler_hands_segments_out_and_aims_at_points(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), grey())
    frames = [replace(pointed((90.0, 30.0)), path=path, number=number) for number in range(2)]
    settings = replace(SETTINGS, focus=1.0, frames=1, scale_low=1.0, scale_high=1.0, crop=(16, 16))
    store = FrameStore(frames, settings.stored_size, False, None)
    asked: list[int] = []

    def segments(row: int) -> Segments:
        asked.append(row)
        size = store[row].image.shape[:2]
        return Segments(np.zeros(size, np.uint16), np.ones((1, 1), bool), np.ones(1, np.float32))

    sampler = ClipSampler(frames, store, settings, 0, segments)
    for number in range(6):
        (sample,) = sampler.clip(number)
        assert len(sample.weak.points) == 1  # the window is a ninth of the image, and the point is in it
        assert sample.segments.superpixels.shape == (16, 16)
    assert sorted(set(asked)) == [0, 1]
    assert ClipSampler(frames, store, settings, 0).clip(0)[0].segments is None


def test_classes_are_those_asked_for() -> None:
    assert ClipSettings(classes=("cow",)).labels == LabelSpace(("cow",), (True,))
    with pytest.raises(InputError, match="distinct"):
        ClipSettings(classes=("cow", "cow"))
