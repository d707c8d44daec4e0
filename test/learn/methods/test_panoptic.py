from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.data.clips import ClipFrame  # noqa: E402
from wsperception.data.panoptic_labels import PanopticLabels  # noqa: E402
from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.crf.mean_field import PairwiseSettings  # noqa: E402
from wsperception.learn.methods.panoptic import DetectedBoxes, Settings, build, true_segments  # noqa: E402
from wsperception.learn.panoptic.instance_crf import InstanceCrfSettings  # noqa: E402
from wsperception.nets.semantic_net import SemanticSettings  # noqa: E402
from wsperception.types import VOID  # noqa: E402

CAR, PERSON, ROAD = range(3)
BOXES = np.array([[8, 8, 24, 24], [36, 4, 60, 28]], np.float32)
SETTINGS = Settings(
    net=SemanticSettings(backbone="tiny", norm="group", channels=16, bins=(1, 2)),
    instance=InstanceCrfSettings(pairwise=PairwiseSettings(iterations=2, bilateral_sigma=20.0, colour_sigma=20.0)),
    instance_weight=1.0,
    stuff_classes=1,
)


def labels_of(ids: np.ndarray, class_ids: list[int], crowd: tuple[int, ...] = (), candidates=None) -> PanopticLabels:
    rows = np.arange(len(class_ids) + 1)
    classes, scores = np.array([VOID, *class_ids], np.int32), (rows > 0).astype(np.float32)
    return PanopticLabels("hand", ids.astype(np.uint16), classes, np.isin(rows, crowd), scores, candidates=candidates)


def frame() -> ClipFrame:
    """Two red cars on a grey road, half of which is not labelled."""
    image = np.full((32, 64, 3), 110, np.uint8)
    ids = np.full((32, 64), 3)
    ids[:, :32] = 0
    for row, (x0, y0, x1, y1) in enumerate(BOXES.astype(int).tolist(), start=1):
        image[y0:y1, x0:x1] = (220, 30, 30)
        ids[y0:y1, x0:x1] = row
    classes, nobody = np.array([CAR, CAR]), np.zeros((0, 4), np.float32)
    labels = labels_of(ids, [CAR, CAR, ROAD])
    return ClipFrame(image, BOXES, classes, classes, None, nobody, None, 0, "street.png", panoptic=labels)


def losses(model, *frames: ClipFrame) -> dict:
    generators = [torch.Generator()] * len(frames)
    return model(list(frames), generators, 0.0)[0]


def test_segments_by_hand() -> None:
    # Rows: road, a car, a crowd of cars, a person, another car. Void and the crowd are not known.
    labels = labels_of(np.array([[1, 2, 3, 5], [4, 0, 3, 1]]), [ROAD, CAR, CAR, PERSON, CAR], crowd=(3,))
    rows, classes = true_segments(labels, (True, True, False))
    assert rows.tolist() == [[0, 1, -1, 4], [3, -1, -1, 0]]
    assert classes.tolist() == [ROAD, CAR, CAR, PERSON, CAR]
    # A row of pixels that may be this or that is not known either.
    maybe = labels_of(np.array([[1, 2]]), [ROAD, VOID], candidates=np.ones((3, 3), bool))
    assert true_segments(maybe, (True, True, False))[0].tolist() == [[0, -1]]
    # A crowd of stuff is its class.
    rows, _ = true_segments(labels_of(np.array([[1, 0]]), [ROAD], crowd=(1,)), (True, True, False))
    assert rows.tolist() == [[0, -1]]


def test_it_learns_two_cars_and_the_road() -> None:
    torch.manual_seed(0)
    model, example = build(SETTINGS, 3), frame()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    values = []
    for _ in range(26):
        terms, figures = model([example], [torch.Generator()], 0.0)
        assert set(terms) == {"semantic", "instance"}
        # 32 columns are labelled, and of the others one car of 16 x 16.
        assert figures["labelled_share"].tolist() == [32 * 32 + 16 * 16, 32 * 64]
        loss = sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.45 * values[0]
    probabilities = model.net.probabilities(example.image)
    assert torch.allclose(probabilities.sum(dim=0), torch.ones(32, 64), atol=1e-5)
    detected = DetectedBoxes(BOXES, example.class_ids, np.array([0.9, 0.8], np.float32))
    segments = model.net.predict(example.image, probabilities, detected)
    assert segments.class_ids[segments.ids[16, 16]] == CAR
    assert segments.class_ids[segments.ids[16, 48]] == CAR
    assert segments.ids[16, 16] != segments.ids[16, 48]
    assert segments.class_ids[segments.ids[30, 32]] == ROAD


def test_the_semantic_network_alone_comes_first() -> None:
    torch.manual_seed(0)
    model = build(replace(SETTINGS, instance_weight=0.0), 3)
    terms = losses(model, frame(), frame())
    assert set(terms) == {"semantic"}
    terms["semantic"].backward()
    assert model.net.instance.log_unary.grad is None


def test_gradients_reach_both_networks_end_to_end() -> None:
    torch.manual_seed(0)
    model = build(replace(SETTINGS, instance_weight=2.0), 3)
    losses(model, frame())["instance"].backward()
    assert model.net.semantic.classify.weight.grad.abs().max() > 0  # type: ignore[union-attr]
    assert model.net.instance.log_pairwise.grad is not None


def test_no_detections_and_no_labels() -> None:
    model, nobody = build(SETTINGS, 3), np.zeros(0, np.int64)
    unknown = labels_of(np.zeros((32, 64)), [])
    empty = replace(frame(), boxes=BOXES[:0], class_ids=nobody, track_keys=nobody, panoptic=unknown)
    assert sum(losses(model, empty).values()).item() == 0.0
    image, none = empty.image, DetectedBoxes(BOXES[:0], nobody, np.zeros(0, np.float32))
    found = model.net.predict(image, model.net.probabilities(image), none)
    assert found.class_ids.tolist() == [VOID, ROAD]  # the only stuff


def test_a_frame_without_panoptic_labels() -> None:
    with pytest.raises(InputError, match=r"street.png: expected panoptic labels, got none; see --panoptic"):
        losses(build(SETTINGS, 3), replace(frame(), panoptic=None))
    with pytest.raises(InputError, match="stuff_classes: expected at most the 2 classes, got 3"):
        build(Settings(stuff_classes=3), 2)
