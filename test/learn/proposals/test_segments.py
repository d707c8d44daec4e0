from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsperception.learn.proposals.region_graph import RegionGraph, region_graph
from wsperception.learn.proposals.segments import (
    ProposalSettings,
    merge_tree,
    segment_proposals,
    touching_pairs,
    tree_membership,
)

COLOUR_ONLY = ProposalSettings(colour=1.0, boundary=0.0, size=0.0)


def chain(histograms: list[list[float]], areas: list[int] | None = None) -> RegionGraph:
    """Regions in a row, each touching the next along one pixel without contrast."""
    count = len(histograms)
    pairs = np.array([(row, row + 1) for row in range(count - 1)], np.int64).reshape(-1, 2)
    return RegionGraph(
        np.array(areas or [1] * count), np.array(histograms), pairs, np.ones(count - 1), np.zeros(count - 1)
    )


def test_the_most_alike_are_merged_first_by_hand() -> None:
    # Costs: 0-1: 1 - (.5 + .5) = 0; 1-2: 1 - (.5 + 0) = .5. Node 3 = {0, 1} has the same histogram, so 2 joins at .5.
    children, costs = merge_tree(chain([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]), COLOUR_ONLY)
    assert [sorted(pair) for pair in children.tolist()] == [[0, 1], [2, 3]]
    assert costs.tolist() == pytest.approx([0.0, 0.5])


def test_a_merged_region_has_the_mean_colours_of_its_pixels() -> None:
    # Regions of 3 and 1 pixels: (3 * (1, 0) + 1 * (.8, .2)) / 4 = (.95, .05), against (.6, .4): 1 - (.6 + .05) = .35.
    # The first two cost 1 - .8 = .2; 1-2 alone would cost 1 - (.6 + .2) = .2 too, so the tie goes to the lower numbers.
    children, costs = merge_tree(chain([[1.0, 0.0], [0.8, 0.2], [0.6, 0.4]], [3, 1, 1]), COLOUR_ONLY)
    assert sorted(children[0].tolist()) == [0, 1]
    assert costs.tolist() == pytest.approx([0.2, 0.35])


def test_contours_add_up_by_their_length() -> None:
    # 0 and 1 merge first (strength 0). Then 2 touches the pair over 1 px of strength .9 and 3 px of .1:
    # (.9 + .3) / 4 = .3.
    graph = RegionGraph(
        np.ones(3, np.int64),
        np.full((3, 2), 0.5),
        np.array([[0, 1], [0, 2], [1, 2]]),
        np.array([1.0, 1.0, 3.0]),
        np.array([0.0, 0.9, 0.1]),
    )
    _, costs = merge_tree(graph, ProposalSettings(colour=0.0, boundary=1.0, size=0.0))
    assert costs.tolist() == pytest.approx([0.0, 0.3])


def test_small_regions_go_first() -> None:
    # Shares of the smaller region: 0-1: sqrt(2/12), 1-2: sqrt(1/12).
    children, costs = merge_tree(
        chain([[1.0], [1.0], [1.0]], [9, 2, 1]), ProposalSettings(colour=0.0, boundary=0.0, size=1.0)
    )
    assert sorted(children[0].tolist()) == [1, 2]
    assert costs.tolist() == pytest.approx([(1 / 12) ** 0.5, (3 / 12) ** 0.5])


def test_costs_never_fall_on_the_way_up() -> None:
    # 0-1 cost .5; their mean (.5, .5) is then alike to 2, which no merge of a part would have been: 0 becomes .5.
    _, costs = merge_tree(chain([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], [1, 1, 1]), COLOUR_ONLY)
    assert (np.diff(costs) >= 0).all()


def test_regions_that_touch_nobody_stay_apart() -> None:
    graph = RegionGraph(np.ones(3, np.int64), np.ones((3, 1)), np.array([[0, 2]]), np.ones(1), np.zeros(1))
    children, _ = merge_tree(graph, COLOUR_ONLY)
    assert children.tolist() == [[0, 2]]


def test_membership_of_a_tree_by_hand() -> None:
    membership = tree_membership(3, np.array([[0, 2], [3, 1]]))
    assert membership.T.astype(int).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1]]


def test_pairs_touch_and_share_nothing() -> None:
    # Superpixels 0 - 1 - 2 - 3 in a row. Columns: {0}, {1}, {1, 2}, {3}.
    membership = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]], bool)
    edges = np.array([[0, 1], [1, 2], [2, 3]])
    assert touching_pairs(membership, edges).tolist() == [[0, 1], [0, 2], [2, 3]]
    assert touching_pairs(membership[:, :0], edges).shape == (0, 2)


def test_a_graph_of_three_fields_by_hand() -> None:
    # Fields of 8 pixels: 0 0 1 / 0 0 2. 0-1 and 0-2 share 8 pixel sides, 1-2 as many.
    superpixels = np.kron(np.array([[0, 0, 1], [0, 0, 2]]), np.ones((8, 8), int))
    image = np.zeros((16, 24, 3), np.uint8)
    image[:8, 16:] = 255
    graph = region_graph(image, superpixels, 2, 15.0)
    assert graph.areas.tolist() == [256, 64, 64]
    assert graph.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert graph.lengths.tolist() == [8, 8, 8]
    # L is in the upper bin for white, in the lower for black; a and b are 0 and so in the upper one for both.
    assert graph.histograms[1].tolist() == pytest.approx([0, 1 / 3, 0, 1 / 3, 0, 1 / 3])
    assert graph.histograms[2].tolist() == pytest.approx([1 / 3, 0, 0, 1 / 3, 0, 1 / 3])
    assert graph.strengths[0] > 0.8
    assert graph.strengths[1] < 0.2  # the white field is near its end
    assert graph.strengths[2] > 0.8


def picture() -> np.ndarray:
    """(40, 60, 3): a red bar with a green end on grey, with a little noise."""
    image = np.random.default_rng(3).integers(100, 112, (40, 60, 3), np.uint8)
    image[10:30, 8:40] = (200, 20, 20)
    image[10:30, 40:50] = (20, 180, 30)
    return image


def test_coloured_fields_are_among_the_first_proposals() -> None:
    found = segment_proposals(picture(), ProposalSettings(superpixels=60))
    for x0, x1 in ((8, 40), (40, 50), (8, 50)):
        truth = np.zeros((40, 60), bool)
        truth[10:30, x0:x1] = True
        overlaps = [(found.mask(row) & truth).sum() / (found.mask(row) | truth).sum() for row in range(12)]
        assert max(overlaps) > 0.85, (x0, x1)


@pytest.mark.parametrize("trees", [1, 3])
def test_the_parts_of_a_proposal_agree(trees: int) -> None:
    found = segment_proposals(picture(), ProposalSettings(superpixels=40, trees=trees))
    assert found.membership.shape == (found.superpixels.max() + 1, len(found))
    assert (np.diff(found.objectness) <= 0).all()
    assert found.objectness.min() >= 0
    assert found.objectness.max() <= 1
    assert not found.membership.all(axis=0).any()
    assert len(np.unique(found.membership, axis=1).T) == len(found)
    for row in range(0, len(found), 7):
        mask = found.mask(row)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert found.areas[row] == mask.sum()
        assert found.boxes[row].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_further_trees_add_to_the_first() -> None:
    """The second tree is that of contours and sizes, the third that of colours and sizes; doubles are there once."""
    one, three = (segment_proposals(picture(), ProposalSettings(superpixels=40, paired=0, trees=n)) for n in (1, 3))
    settings = (ProposalSettings(colour=0.0, boundary=0.8), ProposalSettings(colour=0.8, boundary=0.0))
    graph = region_graph(picture(), one.superpixels, 12, 15.0)
    trees = [tree_membership(len(graph.areas), merge_tree(graph, each)[0])[:, :-1] for each in settings]
    expected = np.concatenate([one.membership, *trees], axis=1)

    def distinct(membership: np.ndarray) -> set[bytes]:
        return {column.tobytes() for column in membership.T}

    assert distinct(three.membership) == distinct(expected)
    assert len(one) < len(three) == len(distinct(expected))
    # What several trees have found keeps the highest of its values.
    first = {column.tobytes(): value for column, value in zip(one.membership.T, one.objectness, strict=True)}
    for column, value in zip(three.membership.T, three.objectness, strict=True):
        assert value >= first.get(column.tobytes(), 0.0)


def test_outlines_judge_the_same_segments_otherwise() -> None:
    outline = ProposalSettings(superpixels=60, trees=2, paired=20, objectness="outline")
    lasting = segment_proposals(picture(), replace(outline, objectness="persistence"))
    found = segment_proposals(picture(), outline)
    assert {c.tobytes() for c in found.membership.T} == {c.tobytes() for c in lasting.membership.T}
    assert (np.diff(found.objectness) <= 0).all()
    # The bar with its end is of two colours and does not last, but stands out as a whole.
    whole = np.zeros((40, 60), bool)
    whole[10:30, 8:50] = True
    ranks = [
        [(each.mask(row) & whole).sum() / (each.mask(row) | whole).sum() > 0.9 for row in range(20)].index(True)
        for each in (found, lasting)
    ]
    assert ranks[0] < ranks[1]


def test_large_segments_can_be_left_out() -> None:
    found = segment_proposals(picture(), ProposalSettings(superpixels=40))
    share = float(np.median(found.areas)) / found.superpixels.size
    kept = found.at_most(share)
    rows = np.flatnonzero(found.areas <= np.median(found.areas))
    assert 0 < len(kept) == len(rows) < len(found)
    for own, row in enumerate(rows.tolist()):
        np.testing.assert_array_equal(kept.mask(own), found.mask(row))
    np.testing.assert_array_equal(kept.boxes, found.boxes[rows])
    np.testing.assert_array_equal(kept.objectness, found.objectness[rows])
    assert len(found.at_most(0.0)) == 0


def test_the_same_image_gives_the_same_proposals() -> None:
    first, second = (segment_proposals(picture(), ProposalSettings(superpixels=40)) for _ in range(2))
    np.testing.assert_array_equal(first.membership, second.membership)
    np.testing.assert_array_equal(first.objectness, second.objectness)


def test_an_image_of_one_superpixel_has_no_proposal() -> None:
    found = segment_proposals(np.zeros((1, 1, 3), np.uint8), ProposalSettings())
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.membership.shape == (1, 0)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 9), st.integers(0, 2**31))
def test_every_region_but_the_last_is_merged_once(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    histograms = random.random((count, 4))
    graph = chain((histograms / histograms.sum(axis=1, keepdims=True)).tolist(), random.integers(1, 50, count).tolist())
    children, costs = merge_tree(graph, ProposalSettings())
    assert sorted(children.ravel().tolist()) == list(range(2 * count - 2))
    assert tree_membership(count, children)[:, -1].all()
    assert ((costs >= 0) & (costs <= 1)).all()
