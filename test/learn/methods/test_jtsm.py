import dataclasses

import numpy as np
import pytest
import torch

from wsperception.data.clips import ClipFrame
from wsperception.data.segments import Segments
from wsperception.errors import InputError
from wsperception.learn import mil
from wsperception.learn.methods import jtsm
from wsperception.learn.proposals.segments import ProposalSettings, segment_proposals
from wsperception.learn.tags.segmented_image import SegmentedImage, segmented_image
from wsperception.settings import from_mapping
from wsperception.types import WeakLabels

NET = {
    "backbone": "tiny", "norm": "group", "stride": 8, "channels": 8, "hidden": 16, "branch_channels": 8, "dropout": 0.0,
}  # fmt: skip


def settings_of(net: dict[str, object] | None = None, **changes: object) -> jtsm.Settings:
    values = {
        "net": {**NET, **(net or {})}, "stuff_classes": 2, "scales": (32,), "colour": 1.0, "flip": False, **changes,
    }  # fmt: skip
    return from_mapping(jtsm.Settings, values, "test")


def picture(tags: tuple[bool, ...] = (True, False, True, True)) -> SegmentedImage:
    """32 x 48 pixels: a red square before blue and green."""
    image = np.zeros((32, 48, 3), np.uint8)
    image[:16], image[16:], image[10:24, 18:34] = (60, 90, 200), (50, 130, 60), (210, 40, 40)
    image += np.random.default_rng(0).integers(0, 12, image.shape).astype(np.uint8)
    proposals = segment_proposals(image, ProposalSettings(superpixels=12, paired=8))
    return segmented_image(image, np.array(tags), proposals, 30, "picture.png")


def model_of(settings: jtsm.Settings) -> jtsm.Jtsm:
    torch.manual_seed(0)
    return jtsm.build(settings, 4)


def losses(model: jtsm.Jtsm, *images: SegmentedImage) -> dict[str, torch.Tensor]:
    terms, _ = model.losses(list(images), [torch.Generator().manual_seed(row) for row in range(len(images))])
    return dict(terms)


def test_all_terms_reach_all_weights():
    model = model_of(settings_of({"refine_boxes": True}))
    terms = losses(model, picture())
    assert set(terms) == {"image", "refine", "box", "instance", "semantic"}
    torch.stack(list(terms.values())).sum().backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    # The only weights that get no gradient are biases before a normaliser and offsets that are equal for all segments.
    assert [name for name in without if not name.startswith(("net.detect.bias", "net.backbone"))] == []


@pytest.mark.parametrize(
    ("net", "names"),
    [
        ({"refinements": 0}, {"image", "instance", "semantic"}),
        ({"instance_branch": False}, {"image", "refine", "semantic"}),
        ({"semantic_branch": False}, {"image", "refine", "instance"}),
        ({"semantic_branch": False, "instance_branch": False}, {"image", "refine"}),
    ],
)
def test_what_is_switched_off_has_no_term(net, names):
    assert set(losses(model_of(settings_of(net)), picture())) == names


def test_mining_terms_are_those_of_multiple_instance_learning():
    model, image = model_of(settings_of()), picture()
    terms = losses(model, image)
    segments, tags = image.segments(torch.device("cpu")), torch.from_numpy(image.tags)
    features = model.net.features(torch.from_numpy(image.image)[None])[0]
    found = model.net.mine(features, segments, torch.from_numpy(image.objectness))
    scores = mil.mil_scores(found.class_logits, found.segment_logits)
    torch.testing.assert_close(terms["image"], mil.image_loss(found.class_logits, found.segment_logits, tags))
    refined = mil.refinement_losses(
        scores, found.refined, segments.boxes, tags, mil.RefinementSettings(weighting="image")
    )
    torch.testing.assert_close(terms["refine"], torch.stack(refined).sum())
    other = mil.refinement_losses(scores, found.refined, segments.boxes, tags, mil.RefinementSettings())
    assert not torch.isclose(terms["refine"], torch.stack(other).sum())


def test_terms_are_means_over_images():
    model = model_of(settings_of())
    first, second = picture(), picture((False, True, True, False))
    single = [losses(model, image) for image in (first, second)]
    for name, value in losses(model, first, second).items():
        torch.testing.assert_close(value, (single[0][name] + single[1][name]) / 2)


def without_segments() -> SegmentedImage:
    whole = picture()
    return dataclasses.replace(
        whole, boxes=whole.boxes[:0], membership=whole.membership[:, :0], objectness=whole.objectness[:0]
    )


@pytest.mark.parametrize("image", [picture((False,) * 4), without_segments()], ids=["no tags", "no segments"])
def test_an_image_that_teaches_nothing_costs_nothing_and_is_counted(image):
    model = model_of(settings_of({"refine_boxes": True}))
    terms, figures = model.losses([image, picture()], [torch.Generator(), torch.Generator()])
    assert figures["idle_images"].tolist() == [1.0, 2.0]
    alone, _ = model.losses([image], [torch.Generator()])
    assert {name: value.item() for name, value in alone.items()} == dict.fromkeys(terms, 0.0)
    torch.stack(list(alone.values())).sum().backward()
    assert all(value.grad is not None for value in model.net.parameters())


def test_box_heads_learn_the_pseudo_boxes_of_the_stage_before():
    # A head that says exactly where the pseudo boxes are costs nothing; before training, all deltas are almost 0, so
    # that only segments that are not their own pseudo box cost.
    model = model_of(settings_of({"refine_boxes": True, "refinements": 1}))
    assert losses(model, picture())["box"] > 0
    alone = settings_of({"refine_boxes": True, "refinements": 1}, regression_iou=1.0)
    model = model_of(alone)
    assert losses(model, picture())["box"].item() == pytest.approx(0.0, abs=1e-3)


def test_images_are_drawn_by_their_generator():
    model = model_of(settings_of(scales=(24, 40), colour=2.0, flip=True))
    drawn = [model._drawn(picture(), torch.Generator().manual_seed(seed)) for seed in range(12)]
    again = model._drawn(picture(), torch.Generator().manual_seed(3))
    np.testing.assert_array_equal(drawn[3].image, again.image)
    assert {part.image.shape[:2] for part in drawn} == {(24, 36), (40, 60)}
    assert {bool(part.boxes[0, 0] == drawn[0].boxes[0, 0]) for part in drawn} == {True, False}
    means = [part.image.mean() for part in drawn]
    assert max(means) > 1.3 * min(means)


@pytest.mark.parametrize("pooling", ["invariant", "rank", "interpolating", "roi_pool", "roi_align"])
def test_a_small_step_against_the_gradient_lowers_the_objective(pooling):
    model = model_of(settings_of({"pooling": pooling}))
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    before = torch.stack(list(losses(model, picture()).values())).sum()
    before.backward()
    optimiser.step()
    assert torch.stack(list(losses(model, picture()).values())).sum() < before


def test_frames_of_training_are_images_with_their_tags():
    whole = picture()
    frame = ClipFrame(
        whole.image, np.array([[18, 10, 34, 24]], np.float32), np.array([1]), np.array([0]), None,
        np.zeros((0, 4), np.float32), None, 0, "frame.png", WeakLabels(tags=np.array([True, False, False, False])),
        segments=Segments(whole.superpixels.astype(np.uint16), whole.membership, whole.objectness),
    )  # fmt: skip
    model = model_of(settings_of())
    terms, figures = model([frame], [torch.Generator()], 0.0)
    expected = losses(model, dataclasses.replace(whole, tags=np.array([True, False, False, False])))
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}
    )
    assert figures["idle_images"].tolist() == [0.0, 1.0]


def test_mistakes_are_named():
    with pytest.raises(InputError, match="stuff_classes: expected at most the 3 classes, got 4"):
        jtsm.build(settings_of(stuff_classes=4), 3)
    with pytest.raises(InputError, match=r"data\.classes: expected two or more"):
        jtsm.build(settings_of(), 1)
    with pytest.raises(InputError, match="scales: expected at least one"):
        settings_of(scales=())
    with pytest.raises(InputError, match=r"picture.png: expected 4 tags, got 3"):
        losses(model_of(settings_of()), picture((True, False, True)))
