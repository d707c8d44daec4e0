"""The full association: before a track begins, one that is missing nearby is gone on with."""

from stories import EAST, NORTH, at, detections, full, run

from wsperception.tracking import Tracker
from wsperception.types import Instances


def jumping(embedding: list[float] = EAST, score: float = 0.95) -> list[Instances]:
    """Stands still for 0.4 s, then is found 32 px farther, where its box of 20 px does not reach."""
    return [*[detections([at(50)])] * 5, detections([at(82)], [embedding], [score])]


def test_a_track_missing_nearby_is_gone_on_with():
    # 0.1 s unseen: it may be (1.0 + 10 x 0.1) x 20 = 40 px away. A quarter of that is not enough, nor is the past.
    reach = {"adopt_reach": 1.0, "adopt_speed": 10.0, "refind_s": 0.0}
    assert run(Tracker(full(**reach)), jumping())[-1] == [1]
    assert run(Tracker(full(**{**reach, "adopt_speed": 0.0})), jumping())[-1] == [2]
    assert run(Tracker(full(**reach, adopt_s=0.05)), jumping())[-1] == [2]
    # Score 0.55: the cost of at least 0.8 is multiplied by 1 + 2 (1 - 0.55).
    assert run(Tracker(full(**reach)), jumping(score=0.55))[-1] == [2]


def test_a_track_nearby_that_looks_different_is_not_gone_on_with():
    assert run(Tracker(full(refind_s=0.0)), jumping(NORTH))[-1] == [2]
    assert run(Tracker(full(refind_s=0.0, appearance_weight=0.0)), jumping(NORTH))[-1] == [1]


def test_a_track_that_is_seen_is_not_taken_over():
    story = [*[detections([at(50)])] * 5, detections([at(50), at(82)])]
    assert run(Tracker(full()), story)[-1] == [1, 2]


def test_a_new_track_waits_for_its_id_where_another_is_missing():
    # 70 px are 3.5 sides: too far to go on with it (1.5 + 0.5), near enough (4) to wait. 90 px are not.
    def story(x: float) -> list[Instances]:
        return [*[detections([at(50)])] * 5, detections([at(x)]), detections([at(x)])]

    settings = full(confirm_s=0.1, confirm_score=0.9, refind_s=0.0)
    assert run(Tracker(settings), story(120))[-2:] == [[0], [2]]
    assert run(Tracker(settings), story(140))[-2:] == [[2], [2]]
