from dataclasses import replace

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.errors import InputError
from wsperception.learn.proposals.segments import ProposalSettings, segment_proposals
from wsperception.learn.pseudo.masks import (
    BACKGROUND,
    FOREGROUND,
    VOID,
    PseudoSettings,
    best_segment,
    box_mask,
    frame_pseudo_masks,
    grabcut,
)

SETTINGS = PseudoSettings(side=64, superpixels=60)


def ellipse(size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """(H, W) bool: the ellipse that fills a box."""
    x0, y0, x1, y1 = box
    x = (np.arange(size[1]) + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
    y = (np.arange(size[0]) + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
    return x[None] ** 2 + y[:, None] ** 2 <= 1


def scene(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (80, 120)) -> np.ndarray:
    """Red ellipses on noisy grey."""
    image = np.random.default_rng(1).integers(90, 130, (*size, 3), np.uint8)
    for box in boxes:
        image[ellipse(size, box)] = (210, 30, 40)
    return image


def test_an_ellipse_is_found_in_its_box() -> None:
    box = (30, 20, 80, 60)
    found = box_mask(scene(box), np.array(box, np.float32), SETTINGS)
    assert found.accepted
    whole = np.zeros((80, 120), np.uint8)
    (x, y), (height, width) = found.corner, found.labels.shape
    whole[y : y + height, x : x + width] = found.labels
    truth = ellipse((80, 120), box)
    decided = whole != VOID
    made = whole == FOREGROUND
    assert (made & truth).sum() / ((made | truth) & decided).sum() > 0.9
    assert decided[20:60, 30:80].mean() > 0.8
    assert (whole[:20] == BACKGROUND).all()
    assert (whole[:, 80:] == BACKGROUND).all()


def test_what_fills_its_box_is_rejected_and_leaves_it_void() -> None:
    image = scene()
    image[20:60, 30:80] = (210, 30, 40)
    strict = replace(SETTINGS, largest_fill=0.9)
    found = box_mask(image, np.array([30, 20, 80, 60], np.float32), strict)
    assert not found.accepted
    # The window reaches 25 % and a pixel beyond the box: from 30 - 12.5 - 1 = 16.5 and 20 - 10 - 1 = 9.
    assert found.corner == (16, 9)
    assert (found.labels[11:51, 14:64] == VOID).all()
    assert (found.labels == VOID).sum() == 40 * 50
    # Half of the field alone is no more than half of the box.
    assert box_mask(image, np.array([30, 20, 110, 60], np.float32), strict).accepted


def test_a_box_outside_of_the_image_has_no_pixel() -> None:
    for box in ((130, 10, 150, 20), (10, 90, 20, 95), (-30, 5, -2, 9), (40, 40, 40, 60)):
        found = box_mask(scene(), np.array(box, np.float32), SETTINGS)
        assert found.labels.shape == (0, 0)
        assert not found.accepted


def test_a_box_as_large_as_the_image_is_rejected() -> None:
    found = box_mask(scene(), np.array([-5, -5, 200, 200], np.float32), SETTINGS)
    assert not found.accepted
    assert (found.labels == VOID).all()


def test_what_two_boxes_claim_is_void() -> None:
    # One blob, and two boxes over it that share columns 50 to 70: both claim its middle.
    image = scene((30, 20, 90, 60))
    boxes = np.array([[30, 20, 70, 60], [50, 20, 90, 60]], np.float32)
    masks = frame_pseudo_masks(image, boxes, np.array([0, 0]), SETTINGS)
    first, second = (rle.decode(counts, masks.size) for counts in masks.objects)
    void = rle.decode(masks.ignored[0], masks.size)
    assert void[40, 60]
    assert first[40, 40]
    assert second[40, 80]
    assert not (first & second).any()
    assert not ((first | second) & void).any()
    assert not masks.drawn


def test_a_claim_of_one_beats_the_doubt_of_another() -> None:
    # The second box has no background beside it and is rejected; where the first has its ellipse, that stands.
    box = (30, 20, 80, 60)
    boxes = np.array([box, (0, 0, 120, 80)], np.float32)
    masks = frame_pseudo_masks(scene(box), boxes, np.array([0, 1]), SETTINGS)
    first, void = rle.decode(masks.objects[0], masks.size), rle.decode(masks.ignored[0], masks.size)
    assert rle.area(masks.objects[1]) == 0
    assert first[40, 55]
    assert not (first & void).any()
    assert void[75, 5]


def test_no_box_gives_no_mask() -> None:
    masks = frame_pseudo_masks(scene(), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), SETTINGS)
    assert masks.objects == ()
    assert rle.area(masks.ignored[0]) == 0


def test_the_state_of_the_random_numbers_changes_nothing() -> None:
    box = np.array([30, 20, 80, 60], np.float32)
    results = []
    for seed in (5, 77):
        cv2.setRNGSeed(seed)
        results.append(box_mask(scene((30, 20, 80, 60)), box, SETTINGS).labels)
    np.testing.assert_array_equal(*results)


def test_the_core_stays_foreground() -> None:
    # An object without any colour of its own: from the box alone nothing would be left of it.
    image, box = scene(size=(60, 60)), np.array([15, 15, 45, 45], float)
    kept = grabcut(image, box, PseudoSettings(core=0.5))
    assert kept[ellipse((60, 60), (23, 23, 37, 37))].all()  # half the sides: 22.5 to 37.5
    assert not kept[:15].any()
    assert not kept[:, 45:].any()


def test_grabcut_without_background_or_without_a_box() -> None:
    image = scene(size=(20, 20))
    assert grabcut(image, np.array([0, 0, 20, 20.0]), SETTINGS).all()
    assert not grabcut(image, np.array([5, 5, 5.2, 5.2]), SETTINGS).any()


def test_no_segment_fits_the_box_better() -> None:
    image, box = scene((10, 10, 50, 70), (70, 10, 110, 70)), np.array([70, 10, 110, 70.0])
    filled = np.zeros((80, 120), bool)
    filled[10:70, 70:110] = True
    found = segment_proposals(image, ProposalSettings(superpixels=40, paired=150))
    masks = [found.mask(row) for row in range(len(found))]
    best = max((mask & filled).sum() / (mask | filled).sum() for mask in masks)
    chosen = best_segment(image, box, 40)
    assert (chosen & filled).sum() / (chosen | filled).sum() == best
    assert not best_segment(image[:1, :1], np.array([0, 0, 1, 1.0]), 5).any()


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match=r"context: expected 1\.05 to 4, got 1\.0"):
        PseudoSettings(context=1.0)
