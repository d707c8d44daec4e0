import numpy as np
import pytest

from wsperception.learn.tags.reestimate import ReestimateSettings, reestimated_mask


def scene(height: int = 60, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """A red disc on green, both a little noisy, and the disc's mask."""
    y, x = np.mgrid[:height, :width]
    disc = (x - 0.4 * width) ** 2 + (y - 0.5 * height) ** 2 < (0.25 * height) ** 2
    image = np.where(disc[..., None], (200, 50, 40), (60, 140, 60)).astype(np.float64)
    image += np.random.default_rng(0).normal(0, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), disc


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


BOX = np.array([12, 10, 52, 50], np.float32)


@pytest.mark.parametrize("evidence", ["segment", "box"])
def test_a_part_of_an_object_becomes_the_object(evidence):
    image, disc = scene()
    part = disc & (np.arange(80) < 32)
    found = reestimated_mask(image, part, BOX, ReestimateSettings(evidence=evidence))
    assert iou(found, disc) > 0.95
    assert iou(part, disc) < 0.6


def test_the_segment_is_kept_as_evidence():
    # Half of the segment is background in colour: the paper's way keeps it, the box alone drops it.
    image, disc = scene()
    segment = np.zeros_like(disc)
    segment[20:40, 26:50] = True
    kept = reestimated_mask(image, segment, BOX, ReestimateSettings(evidence="segment"))
    assert kept[segment].all()
    assert not kept[:10].any()
    boxed = reestimated_mask(image, segment, BOX, ReestimateSettings(evidence="box"))
    assert iou(boxed, disc) > 0.95


def test_without_evidence_or_outside_of_the_box_the_segment_stays():
    image, disc = scene()
    part = disc & (np.arange(80) < 32)
    whole = np.array([0, 0, 80, 60], np.float32)
    for box, evidence in ((BOX, "none"), (whole, "segment"), (whole, "box"), (np.zeros(4, np.float32), "segment")):
        found = reestimated_mask(image, part, box, ReestimateSettings(evidence=evidence))
        np.testing.assert_array_equal(found, part)


def test_no_foreground_at_all_gives_the_segment():
    image = np.full((40, 40, 3), 90, np.uint8)
    segment = np.zeros((40, 40), bool)
    segment[15:20, 15:25] = True
    found = reestimated_mask(image, segment, np.array([15, 15, 25, 20], np.float32), ReestimateSettings(evidence="box"))
    assert found.any()


def test_large_images_are_seen_small_and_give_the_same_object_twice():
    image, disc = scene(300, 400)
    part = disc & (np.arange(400) < 160)
    settings = ReestimateSettings(side=80)
    first = reestimated_mask(image, part, BOX * 5, settings)
    assert first.shape == (300, 400)
    assert iou(first, disc) > 0.9
    np.testing.assert_array_equal(first, reestimated_mask(image, part, BOX * 5, settings))
