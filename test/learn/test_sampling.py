import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.sampling import BACKGROUND, IGNORED, balanced, match, without_ignored  # noqa: E402


def boxes(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_match_by_hand():
    truth = boxes((0, 0, 10, 10), (20, 0, 30, 10))
    candidates = boxes((0, 0, 10, 9), (20, 0, 30, 5), (40, 0, 50, 10), (20, 0, 30, 8))
    # IoU .9 with box 0; .5 with box 1, between the thresholds; none; .8 with box 1.
    assert match(candidates, truth, 0.7, 0.3, best_always=False).tolist() == [0, IGNORED, BACKGROUND, 1]


def test_best_candidates_are_positive_however_bad():
    truth = boxes((0, 0, 10, 10), (100, 100, 110, 110))
    candidates = boxes((0, 0, 10, 2), (0, 8, 10, 10), (0, 0, 1, 1))
    # Two candidates share the highest IoU (.2) with box 0; nothing touches box 1, which therefore takes nobody.
    assert match(candidates, truth, 0.7, 0.3, best_always=True).tolist() == [0, 0, BACKGROUND]


def test_match_without_truth_is_background():
    assert match(boxes((0, 0, 1, 1)), boxes(), 0.5, 0.5, best_always=True).tolist() == [BACKGROUND]
    assert match(boxes(), boxes((0, 0, 1, 1)), 0.5, 0.5, best_always=True).tolist() == []


def test_background_inside_an_ignore_box_is_ignored():
    candidates = boxes((0, 0, 10, 10), (0, 0, 10, 10), (6, 0, 16, 10), (4, 0, 14, 10))
    matches = torch.tensor([0, BACKGROUND, BACKGROUND, BACKGROUND])
    # Ignore x < 10: the positive stays, the second is inside, 40 % of the third and 60 % of the fourth are.
    found = without_ignored(matches, candidates, boxes((-5, -5, 10, 50)))
    assert found.tolist() == [0, IGNORED, BACKGROUND, IGNORED]
    assert without_ignored(matches, candidates, boxes()).tolist() == matches.tolist()


def test_balanced_counts_and_kinds():
    matches = torch.tensor([3, BACKGROUND, IGNORED, 0, BACKGROUND, 1, BACKGROUND, BACKGROUND, 2])
    positives, negatives = balanced(matches, 5, 0.5, torch.Generator().manual_seed(0))
    assert len(positives) == 2
    assert len(negatives) == 3
    assert (matches[positives] >= 0).all()
    assert (matches[negatives] == BACKGROUND).all()


def test_negatives_fill_up_for_missing_positives():
    matches = torch.tensor([BACKGROUND] * 6 + [0])
    positives, negatives = balanced(matches, 6, 0.5, torch.Generator().manual_seed(0))
    assert (len(positives), len(negatives)) == (1, 5)


def test_sampling_follows_the_generator_alone():
    matches = torch.tensor([BACKGROUND] * 50)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed * 100 + len(draws))
        draws.append(balanced(matches, 10, 0.5, torch.Generator().manual_seed(seed))[1].tolist())
    assert draws[0] == draws[1] != draws[2]
