import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.instance_crf import InstanceCrfSettings  # noqa: E402
from wsperception.learn.mean_field import PairwiseSettings  # noqa: E402
from wsperception.learn.methods.panoptic import (  # noqa: E402
    DetectedBoxes,
    PanopticSample,
    Settings,
    build,
    true_segments,
)
from wsperception.learn.panoptic_cleaning import IGNORE, SHARED  # noqa: E402
from wsperception.learn.panoptic_labels import PseudoPanoptic  # noqa: E402
from wsperception.nets.semantic_net import SemanticSettings  # noqa: E402
from wsperception.types import LabelSpace  # noqa: E402

SPACE = LabelSpace(("road", "car", "person"), (False, True, True))
BOXES = np.array([[8, 8, 24, 24], [36, 4, 60, 28]], np.float32)
SETTINGS = Settings(
    net=SemanticSettings(backbone="tiny", norm="group", channels=16, bins=(1, 2)),
    instance=InstanceCrfSettings(pairwise=PairwiseSettings(iterations=2, bilateral_sigma=20.0, colour_sigma=20.0)),
    instance_weight=1.0,
)


def sample() -> PanopticSample:
    """Two red cars on a grey road, half of which is not labelled."""
    image = np.full((32, 64, 3), 110, np.uint8)
    labels, instances = np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.int32)
    labels[:, :32] = IGNORE
    for row, (x0, y0, x1, y1) in enumerate(BOXES.astype(int).tolist(), start=1):
        image[y0:y1, x0:x1] = (220, 30, 30)
        labels[y0:y1, x0:x1], instances[y0:y1, x0:x1] = 1, row
    detected = DetectedBoxes(BOXES, np.array([1, 1]), np.array([0.9, 0.8], np.float32))
    return PanopticSample(image, PseudoPanoptic(labels, instances), detected)


def test_segments_by_hand() -> None:
    labels = np.array([[0, 1, 1, 1], [2, IGNORE, 1, 0]], np.uint8)
    instances = np.array([[0, 1, 2, SHARED], [3, 0, 2, 0]], np.int32)
    rows, classes = true_segments(PseudoPanoptic(labels, instances), SPACE.is_thing)
    # Road; then car 1, car 2 and person 3 in the order of the instances.
    assert classes.tolist() == [0, 1, 1, 2]
    assert rows.tolist() == [[0, 1, 2, -1], [3, -1, 2, 0]]


def test_it_learns_two_cars_and_the_road() -> None:
    torch.manual_seed(0)
    model, example = build(SETTINGS, SPACE), sample()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        terms = model([example])
        assert set(terms) == {"semantic", "instance"}
        loss = sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]
    segments = model.predict(example.image, example.detected)
    assert segments.class_ids[segments.ids[16, 16]] == 1
    assert segments.class_ids[segments.ids[16, 48]] == 1
    assert segments.ids[16, 16] != segments.ids[16, 48]
    assert segments.class_ids[segments.ids[30, 32]] == 0
    probabilities = model.probabilities(example.image)
    assert torch.allclose(probabilities.sum(dim=0), torch.ones(32, 64), atol=1e-5)


def test_the_semantic_network_alone_comes_first() -> None:
    torch.manual_seed(0)
    settings = Settings(net=SETTINGS.net)
    model = build(settings, SPACE)
    terms = model([sample(), sample()])
    assert set(terms) == {"semantic"}
    terms["semantic"].backward()
    assert model.instance.log_unary.grad is None


def test_gradients_reach_both_networks_end_to_end() -> None:
    torch.manual_seed(0)
    model = build(Settings(net=SETTINGS.net, instance=SETTINGS.instance, instance_weight=2.0), SPACE)
    model([sample()])["instance"].backward()
    assert model.net.classify.weight.grad.abs().max() > 0  # type: ignore[union-attr]
    assert model.instance.log_pairwise.grad is not None


def test_no_detections_and_no_labels() -> None:
    model = build(SETTINGS, SPACE)
    none = DetectedBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    unknown = PseudoPanoptic(np.full((32, 64), IGNORE, np.uint8), np.zeros((32, 64), np.int32))
    terms = model([PanopticSample(sample().image, unknown, none)])
    assert sum(terms.values()).item() == 0.0
    assert len(model.predict(sample().image, none)) == 1  # all of it road, the only stuff
