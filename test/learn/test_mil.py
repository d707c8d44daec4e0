import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import settings as hypothesis_settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from wsperception.errors import InputError  # noqa: E402
from wsperception.learn import mil  # noqa: E402
from wsperception.learn.mil import RefinementSettings  # noqa: E402

PLAIN = RefinementSettings()
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [20, 0, 30, 10], [20, 0, 30, 4], [50, 50, 60, 60]])
# IoU with box 0: 1, 0.6, 0, 0, 0; with box 2: 0, 0, 1, 0.4, 0


def random(*shape: int, seed: int = 0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_two_streams_by_hand():
    # Two proposals, three classes. Over classes: exp = (1, 2, 1) -> 1/4, 1/2, 1/4; (3, 1, 1) -> 3/5, 1/5, 1/5.
    # Over proposals: exp of columns (1, 3), (4, 1), (1, 1) -> 1/4 3/4, 4/5 1/5, 1/2 1/2.
    # Products: 1/16, 2/5, 1/8 and 9/20, 1/25, 1/10.
    what = torch.tensor([[1.0, 2, 1], [3, 1, 1]]).log()
    where = torch.tensor([[1.0, 4, 1], [3, 1, 1]]).log()
    scores = mil.mil_scores(what, where)
    assert scores.flatten().tolist() == pytest.approx([1 / 16, 2 / 5, 1 / 8, 9 / 20, 1 / 25, 1 / 10])
    # Image: 41/80, 11/25, 9/40; the tags are classes 0 and 2. Sum over classes, not the mean.
    image = (41 / 80, 11 / 25, 9 / 40)
    assert mil.image_scores(scores).tolist() == pytest.approx(image)
    loss = mil.image_loss(what, where, torch.tensor([1.0, 0.0, 1.0]))
    assert loss.item() == pytest.approx(-math.log(image[0]) - math.log(1 - image[1]) - math.log(image[2]))


def test_a_certain_mistake_costs_what_the_logits_say_and_still_teaches():
    # One proposal: softmax over proposals is 1. Class 0 leads by 40, so p_0 = 1 in float32 and 1 - p_0 = exp(-40).
    # Tags say class 1: -log exp(-40) of class 1, and -log(1 - p_0) of class 0: 80 together. Pulling the logits
    # together by d lowers both terms by d.
    what = torch.tensor([[40.0, 0.0]], requires_grad=True)
    where = torch.zeros(1, 2)
    loss = mil.image_loss(what, where, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(80.0)
    assert what.grad is not None and what.grad.flatten().tolist() == pytest.approx([2.0, -2.0])
    assert mil.image_loss(what, where, torch.tensor([1, 0])).item() == pytest.approx(0.0, abs=1e-6)


def test_a_class_that_is_nowhere_to_be_seen_is_looked_for_where_it_is_likeliest():
    # Class 1, which is in the image, has p = exp(-30) in proposal 0 and exp(-60) in proposal 1, weights 1/2 each:
    # y = exp(-30) / 2, all of it from proposal 0. Class 0 is absent: 1 - y_0 = (exp(-30) + exp(-60)) / 2, the same.
    what = torch.tensor([[30.0, 0.0], [60.0, 0.0]], requires_grad=True)
    loss = mil.image_loss(what, torch.zeros(2, 2), torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(2 * (30 + math.log(2)))
    assert what.grad is not None and what.grad.flatten().tolist() == pytest.approx([2.0, -2.0, 0.0, 0.0], abs=1e-6)


@hypothesis_settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(2, 5), st.integers(0, 1000), st.sampled_from([1.0, 10.0]))
def test_the_loss_is_that_of_the_scores_wherever_those_are_not_rounded(
    proposals: int, classes: int, seed: int, scale: float
):
    what, where = scale * random(proposals, classes, seed=seed), scale * random(proposals, classes, seed=seed + 1)
    present = random(classes, seed=seed + 2) > 0.5
    score = mil.mil_scores(what, where).sum(dim=0)
    by_scores = -torch.where(present, score, 1 - score).log().sum()
    assert mil.image_loss(what, where, present).item() == pytest.approx(by_scores.item(), rel=1e-6, abs=1e-9)


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
def test_image_scores_are_probabilities_and_ignore_the_order(proposals: int, classes: int, seed: int):
    what, where = 6 * random(proposals, classes, seed=seed), 6 * random(proposals, classes, seed=seed + 1)
    scores = mil.mil_scores(what, where)
    total = mil.image_scores(scores)
    assert ((total > 0) & (total < 1)).all()
    order = torch.randperm(proposals, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(mil.mil_scores(what[order], where[order]), scores[order])
    # A constant on all proposals of a class says nothing about where it is.
    assert torch.allclose(mil.mil_scores(what, where + random(classes)), scores)


def test_seeds_by_hand():
    scores = torch.tensor([[0.1, 0.9, 0.3], [0.7, 0.2, 0.3], [0.2, 0.3, 0.8]])
    seeds = mil.find_seeds(scores, torch.tensor([1, 0, 1]))
    assert (seeds.rows.tolist(), seeds.classes.tolist()) == ([2, 1], [2, 0])
    assert seeds.scores.tolist() == pytest.approx([0.8, 0.7])
    assert len(mil.find_seeds(scores, torch.zeros(3))) == 0
    assert len(mil.find_seeds(scores[:0], torch.ones(3))) == 0


def test_targets_by_hand():
    # Seeds: box 0 of class 4 (weight 0.9), box 2 of class 1 (weight 0.3).
    overlaps = torch.tensor([[1.0, 0], [0.6, 0], [0, 1], [0, 0.4], [0, 0]])
    labels, weights = mil.refinement_targets(overlaps, torch.tensor([4, 1]), torch.tensor([0.9, 0.3]), PLAIN)
    assert labels.tolist() == [5, 5, 2, 0, 0]
    assert weights.tolist() == pytest.approx([0.9, 0.9, 0.3, 0.3, 0.9])
    oicr = RefinementSettings(ignored_iou=0.1)
    _, weights = mil.refinement_targets(overlaps, torch.tensor([4, 1]), torch.tensor([0.9, 0.3]), oicr)
    assert weights.tolist() == pytest.approx([0.9, 0.9, 0.3, 0.3, 0.0])


def test_the_threshold_of_a_label_is_exclusive_and_nothing_is_background():
    labels, _ = mil.refinement_targets(torch.tensor([[0.5], [0.51]]), torch.tensor([0]), torch.tensor([1.0]), PLAIN)
    assert labels.tolist() == [0, 1]
    empty = torch.zeros(0, dtype=torch.int64)
    labels, weights = mil.refinement_targets(torch.zeros(3, 0), empty, torch.zeros(0), PLAIN)
    assert labels.tolist() == [0, 0, 0] and weights.tolist() == [0, 0, 0]
    labels, weights = mil.refinement_targets(torch.zeros(0, 2), torch.tensor([0, 1]), torch.ones(2), PLAIN)
    assert labels.shape == weights.shape == (0,) and labels.dtype == torch.int64


def test_refinement_loss_by_hand():
    # exp = (1, 3) of label 1: -log(3/4), weight 0.5; exp = (4, 1) of label 0: -log(4/5), weight 1; weight 0: only in R.
    logits = torch.tensor([[1.0, 3], [4, 1], [9, 1]]).log()
    loss = mil.refinement_loss(logits, torch.tensor([1, 0, 1]), torch.tensor([0.5, 1.0, 0.0]))
    assert loss.item() == pytest.approx((-0.5 * math.log(3 / 4) - math.log(4 / 5)) / 3)


def test_each_head_learns_from_the_one_before():
    scores = torch.tensor([[0.6, 0.0], [0.1, 0.0], [0.2, 0.0], [0.05, 0.0], [0.05, 0.0]])
    tags = torch.tensor([1, 0])
    # The first head prefers box 2 for class 0 with probability 1/2, so the second head's seed is box 2.
    first = torch.tensor([[3.0, 1, 0.1], [3, 1, 0.1], [1, 2, 1], [3, 1, 0.1], [3, 1, 0.1]]).log()
    second = random(5, 3).float()
    one, two = mil.refinement_losses(scores, [first, second], BOXES, tags, PLAIN)
    by_hand = mil.refinement_loss(first, torch.tensor([1, 1, 0, 0, 0]), torch.full((5,), 0.6))
    assert one.item() == pytest.approx(by_hand.item())
    by_hand = mil.refinement_loss(second, torch.tensor([0, 0, 1, 0, 0]), torch.full((5,), 0.5))
    assert two.item() == pytest.approx(by_hand.item())
    # As OICR's later code weighs; and as JTSM does: the image's score 1 (clamped) in place of 0.6 and 0.5.
    tripled = mil.refinement_losses(scores, [first, second], BOXES, tags, RefinementSettings(first_weight=3.0))
    assert [loss.item() for loss in tripled] == pytest.approx([3 * one.item(), two.item()])
    jtsm = mil.refinement_losses(scores, [first, second], BOXES, tags, RefinementSettings(weighting="image"))
    assert [loss.item() for loss in jtsm] == pytest.approx([one.item() / 0.6, two.item() / 0.5], rel=1e-5)


def test_gradients():
    what, where = random(3, 2).requires_grad_(), random(3, 2, seed=1).requires_grad_()
    tags = torch.tensor([1, 0])
    for scale in (1.0, 40.0):  # 40: scores of 1 in float32 by far
        assert torch.autograd.gradcheck(lambda a, b: mil.image_loss(scale * a, scale * b, tags), (what, where))  # noqa: B023
    logits = random(4, 3, seed=2).requires_grad_()
    labels, weights = torch.tensor([1, 0, 2, 0]), random(4, seed=3)
    assert torch.autograd.gradcheck(lambda some: mil.refinement_loss(some, labels, weights), logits)


def test_targets_pass_no_gradient_to_the_stage_before():
    scores = random(5, 2).requires_grad_()
    heads = [random(5, 3, seed=1).requires_grad_(), random(5, 3, seed=2).requires_grad_()]
    losses = mil.refinement_losses(scores, heads, BOXES.double(), torch.tensor([1, 1]), PLAIN)
    losses[1].backward()
    assert scores.grad is None and heads[0].grad is None and heads[1].grad.abs().sum() > 0


def test_no_proposals_cost_nothing_but_keep_the_graph():
    what, where = torch.zeros(0, 2, requires_grad=True), torch.zeros(0, 2, requires_grad=True)
    head = torch.zeros(0, 3, requires_grad=True)
    scores, tags = mil.mil_scores(what, where), torch.tensor([1, 0])
    losses = [mil.image_loss(what, where, tags), *mil.refinement_losses(scores, [head], torch.zeros(0, 4), tags, PLAIN)]
    assert [loss.item() for loss in losses] == [0.0, 0.0]
    sum(losses).backward()
    assert what.grad is not None and where.grad is not None and head.grad is not None


def test_mean_of_heads_by_hand():
    heads = [torch.tensor([[1.0, 3]]).log(), torch.tensor([[1.0, 1]]).log()]
    assert mil.mean_of_heads(heads)[0].tolist() == pytest.approx([3 / 8, 5 / 8])


def test_likely_scores_by_hand():
    # Best of each class: 0.8, 0.6, 0.4; half of it: 0.4, 0.3, 0.2. Class 1 is no tag.
    scores = torch.tensor([[0.8, 0.6, 0.1], [0.4, 0.5, 0.4], [0.3, 0.2, 0.2]])
    tags = np.array([True, False, True])
    kept = torch.tensor([[0.8, 0, 0], [0.4, 0, 0.4], [0, 0, 0.2]])
    assert torch.equal(mil.likely_scores(scores, tags, 0.5), kept)
    assert mil.likely_scores(scores, None, 0.5)[:, 1].tolist() == pytest.approx([0.6, 0.5, 0.0])
    assert torch.equal(mil.likely_scores(scores, None, 0.0), scores)
    assert mil.likely_scores(scores[:0], tags, 0.5).shape == (0, 3)


def test_foreground_by_hand():
    # Class 0: best 0.8, so from 0.4 on: boxes 0, 1 (IoU 0.6: dropped), 2. Class 1 has no tag. Class 2: best 0.5, from
    # 0.25 on: boxes 2 and 3, which overlap by 0.4; but box 2 is class 0's with 0.6.
    scores = torch.tensor([[0.8, 0.9, 0.0], [0.7, 0, 0.1], [0.6, 0, 0.5], [0.1, 0, 0.3], [0.3, 0, 0.1]])
    rows, classes = mil.foreground_proposals(scores, BOXES, torch.tensor([1, 0, 1]), 0.5, 0.3)
    assert (rows.tolist(), classes.tolist()) == ([0, 2], [0, 0])
    rows, classes = mil.foreground_proposals(scores, BOXES, torch.tensor([1, 0, 1]), 0.5, 0.5)
    assert (rows.tolist(), classes.tolist()) == ([0, 2, 3], [0, 0, 2])
    for rows, classes in (
        mil.foreground_proposals(scores, BOXES, torch.zeros(3), 0.5, 0.3),
        mil.foreground_proposals(scores[:0], BOXES[:0], torch.ones(3), 0.5, 0.3),
    ):
        assert rows.shape == classes.shape == (0,)


def test_background_is_drawn_from_what_overlaps_little():
    foreground = torch.tensor([0])
    drawn = [mil.background_proposals(BOXES, foreground, 0.3, 2, torch.Generator().manual_seed(s)) for s in range(20)]
    assert {len(rows) for rows in drawn} == {2}
    assert set(torch.cat(drawn).tolist()) == {2, 3, 4}
    looser = mil.background_proposals(BOXES, foreground, 0.61, 9, torch.Generator())
    assert sorted(looser.tolist()) == [1, 2, 3, 4]
    nothing_found = mil.background_proposals(BOXES, foreground[:0], 0.3, 9, torch.Generator())
    assert sorted(nothing_found.tolist()) == [0, 1, 2, 3, 4]


def test_settings_name_what_is_wrong():
    with pytest.raises(InputError, match=r"iou: expected 0 to 1, got 1\.5"):
        RefinementSettings(iou=1.5)
    with pytest.raises(InputError, match="weighting: expected one of seed, image, got 'y'"):
        RefinementSettings(weighting="y")
