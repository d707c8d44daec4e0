"""Objectness learnt from points: its loss by hand, what it sees, and a scene learnt."""

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from wsperception.data.segments import OUTSIDE, Segments
from wsperception.learn.proposals.learnt_objectness import (
    FEATURES,
    NEAR,
    Looks,
    PointObjectness,
    judged,
    point_loss,
    segment_looks,
)
from wsperception.learn.proposals.segment_store import image_segments
from wsperception.learn.proposals.segments import ProposalSettings

NOTHING = np.zeros((4, 6), bool)


def columns() -> tuple[Segments, Looks]:
    """4 x 6 pixels in three superpixels of two columns; the segments are 0, 1, 2, 0 + 1 and 1 + 2."""
    superpixels = np.repeat(np.arange(6) // 2, 4).reshape(6, 4).T.astype(np.uint16)
    parts = ((0,), (1,), (2,), (0, 1), (1, 2))
    membership = np.array([[row in part for part in parts] for row in range(3)])
    segments = Segments(superpixels, membership, np.ones(5, np.float32))
    middles = np.array([[1.5, 0.5], [1.5, 2.5], [1.5, 4.5], [1.5, 1.5], [1.5, 3.5]])
    return segments, Looks(np.zeros((5, FEATURES), np.float32), middles, np.array([8.0, 8.0, 8.0, 16.0, 16.0]))


def odds(squared: float, area: float) -> float:
    return math.exp(-squared / area / (2 * NEAR**2))


def test_the_loss_of_one_point_by_hand():
    segments, looks = columns()
    logits = torch.log(torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0]))
    # Row 1, column 1: segment 0, from whose middle it is 0.5 and 0.5 away, and 0 + 1, 0.5 and 0.5 as well.
    found = point_loss(logits, looks, segments, np.array([[1, 1]]), NOTHING)
    assert found.item() == pytest.approx(-math.log((1 * odds(0.5, 8) + 4 * odds(0.5, 16)) / 20), rel=1e-4)


def test_a_segment_of_two_points_counts_nothing():
    segments, looks = columns()
    logits = torch.log(torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0]))
    # Points in superpixels 0 and 1: 0 + 1 holds both. The second lies 0.5 and 0.5 from the middle of 1, and 0.5 and 1.5
    # from that of 1 + 2.
    found = point_loss(logits, looks, segments, np.array([[1, 1], [2, 2]]), NOTHING)
    second = 2 * odds(0.5, 8) + 10 * odds(2.5, 16)
    assert found.item() == pytest.approx(-(math.log(odds(0.5, 8) / 20) + math.log(second / 20)) / 2, rel=1e-4)


def test_segments_in_ignored_regions_say_nothing():
    segments, looks = columns()
    logits = torch.log(torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0]))
    ignored = NOTHING.copy()
    ignored[0, 5] = True  # an eighth of segment 2, a sixteenth of 1 + 2
    found = point_loss(logits, looks, segments, np.array([[1, 1]]), ignored)
    assert found.item() == pytest.approx(-math.log((1 * odds(0.5, 8) + 4 * odds(0.5, 16)) / 17), rel=1e-4)
    # Where no segment is left the loss is zero, and still has a gradient.
    logits.requires_grad_()
    nothing = point_loss(logits, looks, segments, np.zeros((0, 2), np.int64), NOTHING)
    nothing.backward()
    assert nothing.item() == 0.0 and logits.grad is not None and not logits.grad.any()


def test_gradient_of_the_loss():
    segments, looks = columns()
    logits = torch.tensor([0.3, -0.2, 0.5, 0.1, -0.4], dtype=torch.float64, requires_grad=True)
    pixels = np.array([[1, 1], [2, 2]])
    assert torch.autograd.gradcheck(lambda given: point_loss(given, looks, segments, pixels, NOTHING), logits)


def test_what_was_learnt_multiplies_the_objectness():
    segments, _ = columns()
    segments = Segments(segments.superpixels, segments.membership, np.array([0.5, 0.4, 0.3, 0.2, 0.1], np.float32))
    found = judged(segments, np.log(np.array([1.0, 4.0, 1.0, 2.0, 8.0], np.float32)))
    # 0.5, 1.6, 0.3, 0.4 and 0.8, over the greatest factor of 8.
    assert found.objectness.tolist() == pytest.approx([0.2, 0.1, 0.0625, 0.05, 0.0375])
    assert (found.membership == segments.membership[:, [1, 4, 0, 3, 2]]).all()
    none = Segments(segments.superpixels, segments.membership[:, :0], np.zeros(0, np.float32))
    assert len(judged(none, np.zeros(0, np.float32))) == 0


def disc(column: int) -> tuple[np.ndarray, Segments, np.ndarray]:
    """A red disc and a grey one that is no object, on a noisy street of 64 x 96; its proposals, and the red one."""
    image = np.random.default_rng(column).integers(90, 110, (64, 96, 3)).astype(np.uint8)
    y, x = np.mgrid[:64, :96]
    image[(x - 80) ** 2 + (y - 20) ** 2 < 12**2] = 170
    true = (x - column) ** 2 + (y - 34) ** 2 < 13**2
    image[true] = (240, 50, 40)
    return image, image_segments(image, ProposalSettings(superpixels=60, paired=20), 0.25), true


def test_looks_do_not_change_in_a_mirror():
    image, segments, _ = disc(30)
    here = segment_looks(image, segments)
    mirrored = Segments(segments.superpixels[:, ::-1], segments.membership, segments.objectness)
    there = segment_looks(np.ascontiguousarray(image[:, ::-1]), mirrored)
    assert here.features.shape == (len(segments), FEATURES)
    np.testing.assert_allclose(here.features, there.features, atol=1e-3)
    np.testing.assert_allclose(here.middles[:, 1], 95 - there.middles[:, 1], atol=1e-6)
    np.testing.assert_allclose(here.features.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(here.features.std(axis=0), 1.0, atol=1e-2)


def test_looks_of_a_padded_image():
    image, segments, _ = disc(30)
    whole = segment_looks(image, segments)
    superpixels = segments.superpixels.copy()
    superpixels[:, 60:] = OUTSIDE
    padded = segment_looks(image, Segments(superpixels, segments.membership, segments.objectness))
    left = np.array([segments.mask(row)[:, :60].sum() for row in range(len(segments))])
    assert padded.areas.tolist() == left.tolist()
    assert (whole.areas >= padded.areas).all() and (padded.areas == 0).any()
    assert np.isfinite(padded.features).all()


def test_objects_are_learnt_from_points():
    scenes = [disc(column) for column in (20, 40, 58)]
    looks = [segment_looks(image, segments) for image, segments, _ in scenes]
    torch.manual_seed(0)
    judge = PointObjectness()
    assert judge(torch.from_numpy(looks[0].features)).unique().numel() == 1  # nothing learnt: all are alike
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3)
    for step in range(90):
        (_, segments, _), seen = scenes[step % 2], looks[step % 2]
        column = (20, 40)[step % 2]
        loss = point_loss(
            judge(torch.from_numpy(seen.features)), seen, segments, np.array([[34, column]]), np.zeros((64, 96), bool)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    _, segments, true = scenes[2]  # never seen
    with torch.no_grad():
        best = segments.mask(int(judge(torch.from_numpy(looks[2].features)).argmax()))
    assert (best & true).sum() / (best | true).sum() > 0.5
