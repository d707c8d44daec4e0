"""Partial cross-entropy by hand, and the channels of the semantic branch."""

import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.semantic import (  # noqa: E402
    IGNORED,
    branch_labels,
    candidate_loss,
    partial_cross_entropy,
    semantic_loss,
)


def test_by_hand():
    # Two images of 1 x 3 pixels, logits log(weights): p = weight / sum. Labelled: class 1 of (1, 3) -> 3/4; class 0 of
    # (2, 3) -> 2/5; class 1 of (5, 1) -> 1/6. The other three pixels are ignored, whatever they say.
    weights = torch.tensor([[[1.0, 2, 9], [3, 3, 1]], [[5, 7, 8], [1, 7, 1]]], dtype=torch.float64)
    labels = torch.tensor([[1, 0, IGNORED], [1, IGNORED, IGNORED]], dtype=torch.uint8)
    loss = partial_cross_entropy(weights.log()[:, :, None], labels[:, None])
    assert loss.item() == pytest.approx(-(math.log(3 / 4) + math.log(2 / 5) + math.log(1 / 6)) / 3, abs=1e-6)


def test_gradient_reaches_labelled_pixels_only():
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([[[2, IGNORED], [IGNORED, 0]]])
    partial_cross_entropy(logits, labels).backward()
    assert (logits.grad.abs().sum(dim=1)[0] > 0).tolist() == [[True, False], [False, True]]
    # d/dlogit of -log softmax is p - 1 at the label, halved by the mean of two.
    p = logits.detach().softmax(dim=1)
    assert logits.grad[0, 2, 0, 0] == pytest.approx(float((p[0, 2, 0, 0] - 1) / 2), abs=1e-6)


def test_nothing_labelled_is_zero_and_attached():
    logits = torch.randn(2, 3, 4, 5).requires_grad_()
    loss = partial_cross_entropy(logits, torch.full((2, 4, 5), IGNORED))
    assert loss.item() == 0.0
    loss.backward()
    assert (logits.grad == 0).all()


def test_half_precision_logits_do_not_overflow():
    # Summed in half precision, 70,000 pixels of loss ln 2 = 48,520 would still fit, ten times as many would not.
    logits = torch.zeros(1, 2, 700, 1000, dtype=torch.float16)
    loss = partial_cross_entropy(logits, torch.zeros(1, 700, 1000, dtype=torch.uint8))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-4)


def test_branch_labels():
    # 2 things, so class 2 is the first stuff class: channel 1.
    classes = torch.tensor([0, 1, 2, 3, 7, IGNORED], dtype=torch.uint8)
    assert branch_labels(classes, 2).tolist() == [0, 0, 1, 2, 6, IGNORED]
    # No thing class: the channel "a thing" stays, and is never wanted.
    assert branch_labels(classes, 0).tolist() == [1, 2, 3, 4, 8, IGNORED]


def test_logits_are_enlarged_to_the_map():
    # One row of two cells, difference of logits -4 and 4. Enlarged to four: the outer ones keep theirs, the inner ones
    # get -4 + 8 / 4 = -2 and 2. Labels: things (class 0 of 1 thing) left, stuff right; loss log(1 + e^-d).
    logits = torch.tensor([[[[0.0, 0.0]], [[-4.0, 4.0]]]])
    classes = torch.tensor([[[0, 0, 1, 1]]])
    expected = (math.log1p(math.exp(-4)) + math.log1p(math.exp(-2))) / 2
    assert semantic_loss(logits, classes, 1).item() == pytest.approx(expected, abs=1e-6)


def test_gradcheck():
    labels = torch.tensor([[[1, IGNORED], [0, 2]]])
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: partial_cross_entropy(values, labels), (logits,))


def test_candidates_by_hand():
    # Logits log 1, log 2, log 5 at both pixels: probabilities 1/8, 2/8, 5/8. The first has the first or the last class,
    # 6/8; the second the middle one, 2/8; of the third nothing is known.
    logits = torch.tensor([1.0, 2.0, 5.0]).log().view(1, 3, 1, 1).expand(1, 3, 1, 3)
    candidates = torch.tensor([[[[True, False, True], [False, True, False], [False] * 3]]])
    expected = -(math.log(6 / 8) + math.log(2 / 8)) / 2
    assert candidate_loss(logits, candidates).item() == pytest.approx(expected, abs=1e-6)


def test_all_classes_as_candidates_say_nothing():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = candidate_loss(logits, torch.ones(2, 4, 5, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.allclose(logits.grad, torch.zeros(()), atol=1e-7)


def test_without_candidates_the_loss_is_zero_and_attached():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = candidate_loss(logits, torch.zeros(1, 2, 2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


def test_gradcheck_of_candidates():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 4, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    candidates = torch.rand(1, 2, 3, 4, generator=generator) < 0.5
    assert torch.autograd.gradcheck(lambda values: candidate_loss(values, candidates), logits)
