import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.metric import batch_hard_triplet  # noqa: E402


def unit(*degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def loss(degrees, keys, classes=None, margin: float = 0.2) -> float:
    classes = torch.zeros(len(keys), dtype=torch.long) if classes is None else torch.tensor(classes)
    return batch_hard_triplet(unit(*degrees), torch.tensor(keys), classes, margin).item()


def test_perfect_embeddings_cost_nothing():
    # Same object at distance 0, the other at 1 - cos 90 = 1: max(0 - 1 + 0.2, 0) = 0. Read with the similarity that the
    # paper prints, the same vectors would cost 1 - 0 + 0.2 = 1.2.
    assert loss([0, 0, 90], [7, 7, 8]) == 0.0


def test_by_hand():
    # Object 1 at 0 and 60 degrees, object 2 at 90. Distances: 0-60: 1/2; 0-90: 1; 60-90: 1 - sqrt(3)/2 = 0.133975.
    # RoI 0: 0.5 - 1 + 0.2 -> 0. RoI 60: 0.5 - 0.133975 + 0.2 = 0.566025. RoI 90: 0 - 0.133975 + 0.2 = 0.066025.
    assert loss([0, 60, 90], [1, 1, 2]) == pytest.approx((0 + 0.566025 + 0.066025) / 3, abs=1e-6)


def test_the_hardest_positive_and_negative_count():
    # A further RoI of object 1 at 30 and one of object 2 at 180 change no maximum or minimum of RoI 60 of above. Of the
    # new ones, RoI 30: farthest 1 - cos 30 = 0.133975, nearest 1 - cos 60 = 0.5 -> 0; RoI 180: farthest 1 (to 90),
    # nearest 1 - cos 120 = 1.5 -> 0. RoI 90: farthest 1, nearest 0.133975 -> 1.066025.
    assert loss([0, 60, 90, 30, 180], [1, 1, 2, 1, 2]) == pytest.approx((0.566025 + 1.066025) / 5, abs=1e-6)


def test_classes_are_apart():
    # The only other object is of another class: no negative, no triplet. Its own key counts still as one identity.
    assert loss([0, 60, 61], [1, 1, 2], classes=[0, 0, 1]) == 0.0
    # With a negative for one class only, the mean is over that class's RoIs.
    assert loss([0, 60, 90, 0], [1, 1, 2, 9], classes=[0, 0, 0, 1]) == pytest.approx(0.632050 / 3, abs=1e-6)


def test_nothing_is_zero_and_attached():
    embeddings = torch.zeros(0, 4, requires_grad=True)
    value = batch_hard_triplet(embeddings, torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), 0.2)
    assert value.item() == 0.0
    value.backward()
    single = unit(10).requires_grad_()
    value = batch_hard_triplet(single, torch.tensor([1]), torch.tensor([0]), 0.2)
    assert value.item() == 0.0
    value.backward()


def test_gradient():
    torch.manual_seed(0)
    raw = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    keys, classes = torch.tensor([1, 1, 2, 2, 3, 4, 4]), torch.tensor([0, 0, 0, 0, 0, 1, 1])

    def function(vectors: torch.Tensor) -> torch.Tensor:
        return batch_hard_triplet(torch.nn.functional.normalize(vectors, dim=1), keys, classes, 0.9)

    assert function(raw).item() > 0
    assert torch.autograd.gradcheck(function, raw)


def test_a_step_pulls_one_object_together():
    vectors = unit(0, 60, 90).requires_grad_()
    keys = torch.tensor([1, 1, 2])
    value = batch_hard_triplet(vectors, keys, torch.zeros(3, dtype=torch.long), 0.2)
    value.backward()
    moved = torch.nn.functional.normalize(vectors.detach() - 0.1 * vectors.grad, dim=1)
    assert moved[0] @ moved[1] > vectors.detach()[0] @ vectors.detach()[1]
    assert moved[1] @ moved[2] < vectors.detach()[1] @ vectors.detach()[2]
