from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from wsperception.learn.proposals.segments import Proposals  # noqa: E402
from wsperception.learn.tags.community_inference import (  # noqa: E402
    FoundInstances,
    InferenceSettings,
    find_instances,
    painted,
    replaced_by_proposals,
)
from wsperception.learn.tags.tagged_image import TaggedImage, resized  # noqa: E402
from wsperception.nets.community_net import CommunityNet, CommunityNetSettings  # noqa: E402

NET = CommunityNetSettings(
    backbone="tiny", pooling="align", pool_side=4, regressor_features=16, cam_channels=8, mask_side=6, mask_channels=8,
    mask_layers=1,
)  # fmt: skip
ONE = InferenceSettings(scales=(64,), flip=False, min_score=0.0)
BOXES = np.array([[4, 6, 40, 50], [10, 0, 60, 30], [0, 0, 64, 64], [42, 30, 78, 62], [6, 8, 38, 52]], np.float32)


def net(class_count: int = 2, **changes) -> CommunityNet:
    torch.manual_seed(3)
    network = CommunityNet(replace(NET, **changes), class_count).eval()
    for module in (network.heads, network.classes, network.regressor, network.segmentation):
        for parameter in module.parameters() if module is not None else ():
            torch.nn.init.normal_(parameter, std=0.1)  # at 0.01 all scores and masks are alike
    return network


def image(boxes: np.ndarray = BOXES) -> TaggedImage:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    return TaggedImage(pixels, np.zeros(2, bool), boxes, "image")


def test_painted_by_hand():
    # Cells of 2 x 2 over x 1 to 9, y 0 to 4: centres at x 3 and 7, y 1 and 3. Along the lower row from 0 (x 3) to 1
    # (x 7): pixel centres 4.5 -> 0.375, 5.5 -> 0.625. Along y at x >= 7 from 0 to 1: 1.5 -> 0.25, 2.5 -> 0.75.
    grid = np.array([[[0.0, 0.0], [0.0, 1.0]]], np.float32)
    mask = painted(grid, np.array([[1, 0, 9, 4]], np.float32), (5, 10), 0.4)[0]
    assert mask[3].tolist() == [False] * 5 + [True] * 4 + [False]
    # Row 2 is at 0.75 of these: pixel 5.5 -> 0.47, 4.5 -> 0.28. Row 1 at a quarter, row 4 outside.
    assert mask[2].tolist() == mask[3].tolist() and not mask[[0, 1, 4]].any()


def test_a_grid_of_ones_fills_the_box_and_a_box_beyond_the_image_nothing():
    boxes = np.array([[2.4, 1, 6.6, 3], [20, 20, 30, 30], [-4, -4, 2, 2]], np.float32)
    masks = painted(np.ones((3, 1, 1), np.float32), boxes, (6, 8), 0.4)
    assert masks[0].nonzero()[1].min() == 2 and masks[0].nonzero()[1].max() == 6 and masks[0].sum() == 2 * 5
    assert masks[1].sum() == 0 and masks[2].sum() == 4
    assert painted(np.ones((0, 1, 1)), np.zeros((0, 4)), (6, 8), 0.4).shape == (0, 6, 8)


def test_a_detection_is_its_proposal_regressed_and_of_its_best_class():
    network = net()
    found = find_instances(network, image(), ONE)
    assert 0 < len(found.boxes) <= len(BOXES)
    assert (np.diff(found.scores) <= 0).all()
    with torch.no_grad():
        levels = network.levels(torch.from_numpy(image().image))
        outputs = network.detect(network.proposal_features(levels, torch.from_numpy(BOXES)))
        scores = torch.stack([head.softmax(dim=1) for head in outputs.heads]).mean(dim=0)[:, 1:]
    best = int(scores.max(dim=1).values.argmax())
    assert found.scores[0] == pytest.approx(scores[best].max().item(), rel=1e-5)
    assert found.class_ids[0] == int(scores[best].argmax())
    # Offsets are ten times what the middle moves by, in widths, and five times the logarithm of the width's change.
    width, delta = BOXES[best, 2] - BOXES[best, 0], outputs.deltas[best, 0] / torch.tensor([10.0, 10.0, 5.0, 5.0])
    middle = (BOXES[best, 0] + BOXES[best, 2]) / 2 + delta[0].item() * width
    half = width * delta[2].exp().item() / 2
    assert found.boxes[0, [0, 2]] == pytest.approx(np.clip([middle - half, middle + half], 0, 80), abs=1e-3)
    inside = painted(np.ones((1, 1, 1)), found.boxes[:1], (64, 80), 0.5)[0]
    assert found.masks[0].any() and not (found.masks[0] & ~inside).any()


def test_suppression_scores_and_numbers():
    assert len(find_instances(net(), image(), replace(ONE, nms=1.0)).boxes) == len(BOXES)
    assert len(find_instances(net(), image(), replace(ONE, nms=1.0, detections=2)).boxes) == 2
    assert len(find_instances(net(), image(), replace(ONE, min_score=1.0)).boxes) == 0


def test_of_an_image_with_tags_other_classes_are_not_looked_for():
    tagged = replace(image(), tags=np.array([False, True]))
    free = find_instances(net(), tagged, replace(ONE, nms=1.0))
    assert set(free.class_ids.tolist()) == {0, 1}
    found = find_instances(net(), tagged, replace(ONE, nms=1.0, known_tags=True))
    assert set(found.class_ids.tolist()) == {1} and len(found.boxes) == len(BOXES)
    likely = find_instances(net(), tagged, replace(ONE, nms=1.0, known_tags=True, min_share=0.9))
    assert likely.scores.tolist() == [score for score in found.scores.tolist() if score >= 0.9 * found.scores[0]]
    assert 0 < len(likely.boxes) < len(BOXES)


def test_mirroring_the_image_mirrors_what_is_found():
    both = replace(ONE, flip=True, nms=1.0)
    found = find_instances(net(), image(), both)
    other = find_instances(net(), resized(image(), 64, flip=True), both)
    np.testing.assert_allclose(found.scores, other.scores, rtol=1e-4)
    np.testing.assert_allclose(found.boxes[:, 0], 80 - other.boxes[:, 2], atol=1e-3)
    assert (found.masks == other.masks[:, :, ::-1]).mean() > 0.999


def test_scales_are_averaged():
    network, settings = net(class_count=1, regressor="none"), replace(ONE, nms=1.0)
    single = [find_instances(network, image(), replace(settings, scales=(scale,))) for scale in (64, 96)]
    joint = find_instances(network, image(), replace(settings, scales=(64, 96)))

    def score_of(found: FoundInstances, box: np.ndarray) -> float:
        (row,) = np.flatnonzero(np.abs(found.boxes - box).max(axis=1) < 1e-3)
        return float(found.scores[row])

    for box in joint.boxes:
        parts = [score_of(found, box) for found in single]
        assert score_of(joint, box) == pytest.approx(sum(parts) / 2, rel=1e-4)


def test_without_class_maps_the_mask_is_the_box():
    found = find_instances(net(cams=0, segmentation=False, regressor="none"), image(), ONE)
    for box, mask in zip(found.boxes.astype(int), found.masks, strict=True):
        assert mask.sum() == (box[2] - box[0]) * (box[3] - box[1])
        assert mask[box[1] : box[3], box[0] : box[2]].all()


def test_an_image_without_proposals_has_no_instances():
    found = find_instances(net(), image(np.zeros((0, 4), np.float32)), ONE)
    assert found.boxes.shape == (0, 4) and found.masks.shape == (0, 64, 80)


def test_replacement_takes_the_segment_that_overlaps_most():
    # Superpixels in columns of widths 2, 3, 5; segments: {0}, {1}, {0, 1}, {2}.
    superpixels = np.repeat([0, 1, 2], [2, 3, 5])[None].repeat(4, axis=0).astype(np.int32)
    membership = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
    proposals = Proposals(
        superpixels, membership, np.ones(4, np.float32), np.zeros((4, 4), np.float32), np.array([8, 12, 20, 20])
    )
    masks = np.zeros((3, 4, 10), bool)
    masks[0, :, :4] = True  # with {0, 1}: 16 / 20; with {1}: 8 / 20; with {0}: 8 / 16
    masks[1, :2, 1:3] = True  # 4 pixels: with {0} 2 / 10, with {1} 2 / 14, with {0, 1} 4 / 20: the first of the equal
    found = FoundInstances(np.ones((3, 4), np.float32), np.ones(3, np.float32), np.zeros(3, np.int64), masks)
    replaced = replaced_by_proposals(found, proposals)
    assert np.array_equal(replaced.masks[0], superpixels < 2)
    assert np.array_equal(replaced.masks[1], superpixels == 0)
    assert not replaced.masks[2].any()  # an empty mask meets nothing and stays
    assert np.array_equal(replaced.boxes, found.boxes) and np.array_equal(found.masks, masks)
    none = Proposals(
        superpixels, membership[:, :0], np.ones(0, np.float32), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    )
    assert replaced_by_proposals(found, none) is found
