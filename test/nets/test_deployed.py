"""The static network in PyTorch: what it finds is what eager detection finds, and masks are made for that alone."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from wsperception.nets.deployed import DeployedNet, found_rows  # noqa: E402
from wsperception.nets.detect import detect  # noqa: E402
from wsperception.nets.settings import DetectSettings, NetSettings  # noqa: E402

DETECT = DetectSettings(pre_nms=100, proposals=40, detections=20, min_score=0.0)
SMALL = NetSettings(
    backbone="tiny", fpn_channels=16, box_features=32, mask_channels=8, track_features=16, canonical_size=100.0
)
PANOPTIC = replace(SMALL, stuff_classes=3, semantic_channels=8)


def noise(count: int, height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (count, height, width, 3)).astype(np.uint8))


def test_static_detection_is_eager_detection(random_network):
    net = random_network(replace(SMALL, mask_context=1.4, mask_sampling=1))
    images = noise(2, 96, 160)
    with torch.no_grad():
        boxes, scores, class_ids, masks, _, _ = DeployedNet(net, DETECT)(images)
    for index, expected in enumerate(detect(net, images, DETECT)):
        count = len(expected.scores)
        assert count >= 10
        assert torch.allclose(scores[index, :count], expected.scores, atol=1e-5)
        assert (scores[index, count:] == 0).all()
        assert torch.allclose(boxes[index, :count], expected.boxes, atol=1e-2)
        assert torch.equal(class_ids[index, :count].long(), expected.class_ids)
        assert torch.allclose(masks[index, :count], expected.masks, atol=1e-3)


def test_the_semantic_output_is_the_branchs_probabilities(random_network):
    net = random_network(PANOPTIC)
    images = noise(2, 96, 160)
    with torch.no_grad():
        *others, semantic = DeployedNet(net, DETECT)(images)
        expected = net.semantic(net.pyramid(images)).softmax(dim=1)
    assert len(others) == 6
    assert semantic.shape == (2, 4, 24, 40)  # "a thing" and 3 stuff classes at stride 4
    assert semantic.dtype == torch.uint8
    assert float(expected.std()) > 0.05  # not all alike
    assert (semantic / 255 - expected).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    ("scores", "rows"),
    [
        ([[0.9, 0.1, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]], 2),  # the image with more of them decides
        ([[0.5, 0.0, 0.0, 0.0], [0.9, 0.3, 0.1, 0.0]], 3),
        ([[0.4, 0.3, 0.2, 0.1]], 4),
        ([[0.0, 0.0, 0.0, 0.0]], 1),  # never none
    ],
)
def test_rows_that_are_found(scores, rows, monkeypatch):
    assert found_rows(torch.tensor(scores)) == 4  # PyTorch itself keeps one length
    monkeypatch.setattr("torch.compiler.is_exporting", lambda: True)
    assert found_rows(torch.tensor(scores)) == rows


def test_masks_are_made_for_what_is_found_and_are_those_of_all_rows(random_network, monkeypatch):
    net = DeployedNet(random_network(SMALL), replace(DETECT, min_score=0.75))
    images = noise(3, 96, 160)
    counted = []
    monkeypatch.setattr(net.net.mask.logits, "forward", _counting(net.net.mask.logits.forward, counted))
    with torch.no_grad():
        everything = net(images)
        monkeypatch.setattr("torch.compiler.is_exporting", lambda: True)
        found = net(images)
    counts = (found[1] > 0).sum(dim=1).tolist()
    assert len(set(counts)) > 1 and 0 < max(counts) < 20
    assert counted == [3 * 20, 3 * max(counts)]
    for some, whole in zip(found, everything, strict=True):
        assert some.shape == whole.shape and some.dtype == whole.dtype
        for index, count in enumerate(counts):
            assert torch.allclose(some[index, :count], whole[index, :count], atol=1e-6)
    for padded in (found[3], found[5]):
        assert (padded[:, max(counts) :] == 0).all()
        assert (padded[:, : max(counts)] != 0).any(dim=-1).all()


def _counting(forward, counted):
    def call(features):
        counted.append(len(features))
        return forward(features)

    return call
