import dataclasses

import numpy as np
import pytest
import torch

from wsperception.learn.tags.jtsm_inference import InferenceSettings, painted_things, panoptic_segments, segment_scores
from wsperception.learn.tags.segmented_image import SegmentedImage
from wsperception.nets.jtsm_net import JtsmNet, JtsmNetSettings, Mined
from wsperception.types import VOID, SegmentMap

SIZE = (40, 64)


def picture(mirrored: bool = False) -> SegmentedImage:
    """Four bars of 16 columns, of which each is a segment, and each pair of neighbours."""
    random = np.random.default_rng(0)
    image = np.repeat(random.integers(0, 256, (1, 4, 3)), 16, axis=1).repeat(SIZE[0], axis=0)
    image = (image + random.integers(0, 9, image.shape)).clip(0, 255).astype(np.uint8)
    superpixels = np.tile(np.arange(64) // 16, (SIZE[0], 1)).astype(np.int32)
    membership = np.concatenate([np.eye(4), [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]]).T.astype(bool)
    starts, ends = np.array([0, 16, 32, 48, 0, 16, 32]), np.array([16, 32, 48, 64, 32, 48, 64])
    if mirrored:
        image, superpixels = image[:, ::-1].copy(), superpixels[:, ::-1].copy()
        starts, ends = 64 - ends, 64 - starts
    boxes = np.stack([starts, 0 * starts, ends, 0 * starts + SIZE[0]], axis=1).astype(np.float32)
    return SegmentedImage(image, np.zeros(4, bool), boxes, "bars.png", superpixels, membership, np.ones(7, np.float32))


def net_of(**changes: object) -> JtsmNet:
    torch.manual_seed(0)
    values = {
        "backbone": "tiny", "norm": "group", "stride": 8, "channels": 8, "hidden": 16, "branch_channels": 8,
        "refinements": 2,
    }  # fmt: skip
    net = JtsmNet(JtsmNetSettings(**{**values, **changes}), 4, 2)
    for layer in (*net.refine, net.classify, net.detect, *net.move):  # as they begin, all segments score alike
        torch.nn.init.normal_(layer.weight, std=0.3)
    return net


SETTINGS = InferenceSettings(scales=(40,), flip=False, min_score=0.2, stuff_area=10)


def table(segments: SegmentMap) -> list[tuple[int, float, int]]:
    """Class, score and pixels of each segment."""
    areas = np.bincount(segments.ids.ravel(), minlength=len(segments.class_ids))
    return [
        (int(kind), round(float(score), 4), int(area))
        for kind, score, area in zip(segments.class_ids[1:], segments.scores[1:], areas[1:], strict=True)
    ]


def test_things_are_painted_by_score_by_hand():
    masks = np.zeros((4, 2, 10), bool)
    masks[0, :, :4] = True  # 8 pixels, painted second: 2 of them hidden
    masks[1, :, 3:8] = True  # the best
    masks[2, :, 5:9] = True  # 8 pixels, 6 hidden: dropped
    masks[3] = False
    boxes = np.arange(16, dtype=np.float32).reshape(4, 4)
    found = painted_things(masks, boxes, np.array([0.6, 0.9, 0.5, 0.8]), np.array([1, 0, 1, 0]), 0.5)
    assert found.class_ids.tolist() == [VOID, 0, 1]
    assert found.ids[0].tolist() == [2, 2, 2, 1, 1, 1, 1, 1, 0, 0]
    assert found.boxes[1:].tolist() == boxes[[1, 0]].tolist()
    assert found.scores.tolist() == pytest.approx([0.0, 0.9, 0.6])
    loose = painted_things(masks, boxes, np.array([0.6, 0.9, 0.5, 0.8]), np.array([1, 0, 1, 0]), 0.75)
    assert loose.class_ids.tolist() == [VOID, 0, 1, 1]
    assert loose.ids[0].tolist() == [2, 2, 2, 1, 1, 1, 1, 1, 3, 0]


def test_scores_of_heads_by_hand():
    # Softmax of (0, log 3) is (1/4, 3/4), of (log 3, 0) is (3/4, 1/4): their mean of class 0 is 1/2.
    three = float(np.log(3.0))
    refined = [torch.tensor([[0.0, three]]), torch.tensor([[three, 0.0]])]
    zero = torch.zeros((1, 1))
    assert segment_scores(Mined(zero, zero, refined, [])).tolist() == [[pytest.approx(0.5)]]
    # Without heads: softmax over classes (1/2, 1/2) everywhere, over segments 3/4 and 1/4 for class 0 and the reverse
    # for class 1. Products 3/8, 1/8; they sum to y = 1/2, which the best is scaled to, so the other has 1/6.
    logits = torch.tensor([[three, 0.0], [0.0, three]])
    found = segment_scores(Mined(torch.zeros((2, 2)), logits, [], []))
    assert found.flatten().tolist() == pytest.approx([0.5, 1 / 6, 1 / 6, 0.5])
    assert segment_scores(Mined(torch.zeros((0, 2)), torch.zeros((0, 2)), [], [])).shape == (0, 2)


def test_without_branches_segments_are_what_is_shown():
    net = net_of(instance_branch=False, semantic_branch=False)
    found = panoptic_segments(net, picture(), SETTINGS)
    assert len(found) > 1
    assert {len(np.unique(found.ids[:, start : start + 16])) for start in (0, 16, 32, 48)} == {1}
    with torch.no_grad():
        net.eval()
        mined = net.mine(
            net.features(torch.from_numpy(picture().image)[None])[0],
            picture().segments(torch.device("cpu")),
            torch.ones(7),
        )
    scores = segment_scores(mined)
    things, stuff = found.class_ids < 2, found.class_ids >= 2
    assert found.scores[things].max() == pytest.approx(scores[:, :2].max().item(), abs=1e-5)
    # A bar that no thing has is of the stuff class whose best segment on it scores highest.
    for place, start in enumerate((0, 16, 32, 48)):
        row = found.ids[0, start]
        if stuff[row]:
            held = torch.from_numpy(picture().membership[place])
            best = scores[held, 2:].amax(dim=0)
            assert found.class_ids[row] == 2 + int(best.argmax())


def test_branches_draw_the_masks():
    net = net_of()
    settings = dataclasses.replace(SETTINGS, mask_threshold=0.0)
    assert net.mask is not None
    torch.nn.init.constant_(net.mask.logits.bias, 20.0)  # masks fill their boxes
    found = panoptic_segments(net, picture(), settings)
    things = found.class_ids < 2
    areas = np.bincount(found.ids.ravel(), minlength=len(things))
    assert areas[1:][things[1:]].min() >= 16 * SIZE[0]
    torch.nn.init.constant_(net.mask.logits.bias, -20.0)
    empty = panoptic_segments(net, picture(), SETTINGS)
    assert (empty.class_ids[1:] >= 2).all()


@pytest.mark.parametrize("branches", [True, False])
def test_of_an_image_with_tags_other_classes_are_not_looked_for(branches):
    net = net_of(instance_branch=branches, semantic_branch=branches)
    settings = dataclasses.replace(SETTINGS, min_score=0.0, mask_threshold=0.0)
    free = set(panoptic_segments(net, picture(), settings).class_ids[1:].tolist())
    allowed = ((False, True, True, False), (True, False, False, True))
    assert any(not free <= set(np.flatnonzero(tags).tolist()) for tags in allowed)
    for tags in allowed:
        tagged = dataclasses.replace(picture(), tags=np.array(tags))
        found = panoptic_segments(net, tagged, dataclasses.replace(settings, known_tags=True))
        assert set(found.class_ids[1:].tolist()) <= set(np.flatnonzero(tags).tolist())
        assert (found.class_ids[1:] < 2).any()


@pytest.mark.parametrize("branches", [True, False])
@pytest.mark.parametrize("refine_boxes", [True, False])
def test_an_image_and_its_mirror_image_are_seen_alike(branches, refine_boxes):
    net = net_of(instance_branch=branches, semantic_branch=branches, refine_boxes=refine_boxes)
    settings = dataclasses.replace(SETTINGS, flip=True, scales=(40, 56))
    found, mirrored = (panoptic_segments(net, picture(flip), settings) for flip in (False, True))
    assert len(found) > 0
    assert table(found) == table(mirrored)
    assert (found.ids[:, ::-1] != mirrored.ids).mean() < 0.02
    alone = panoptic_segments(net, picture(True), dataclasses.replace(settings, flip=False))
    assert table(alone) != table(mirrored)


def test_no_segments_leave_stuff_only():
    whole = picture()
    none = dataclasses.replace(
        whole, boxes=whole.boxes[:0], membership=whole.membership[:, :0], objectness=whole.objectness[:0]
    )
    found = panoptic_segments(net_of(), none, SETTINGS)
    assert (found.class_ids[1:] >= 2).all()
    bare = net_of(instance_branch=False, semantic_branch=False)
    assert len(panoptic_segments(bare, none, SETTINGS)) == 0


def test_small_stuff_is_void():
    net = net_of()
    found = panoptic_segments(net, picture(), SETTINGS)
    assert (found.class_ids >= 2).any()
    areas = np.bincount(found.ids.ravel(), minlength=len(found.class_ids))
    limit = int(areas[found.class_ids >= 2].max()) + 1
    assert not (panoptic_segments(net, picture(), dataclasses.replace(SETTINGS, stuff_area=limit)).class_ids >= 2).any()


def test_the_mode_of_the_network_stays():
    net = net_of().train()
    first, second = (table(panoptic_segments(net, picture(), SETTINGS)) for _ in range(2))
    assert first == second
    assert net.training
