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
    # 38 px are 1.9 sides: too far to go on with it (0.95 x (1 + 2 (0.05 + 0.05)) = 1.14), near enough (2) to wait until
    # it has been seen for 0.2 s instead of 0.1 s. 42 px are not, and a score of 0.9 is clear enough for an id at once.
    def story(x: float) -> list[Instances]:
        return [*[detections([at(50)])] * 5, *[detections([at(x)])] * 3]

    settings = full(confirm_s=0.1, confirm_score=0.9, refind_s=0.0)
    assert run(Tracker(settings), story(88))[-3:] == [[0], [0], [2]]
    assert run(Tracker(settings), story(92))[-3:] == [[2], [2], [2]]


def test_what_is_hidden_is_waited_for_longer():
    # Stands at x = 50 to 70, y = 30 to 50, until something nearer passes; 0.5 s later it is found 21 px farther.
    def story(cover: list[float]) -> list[Instances]:
        nearer = detections([cover], classes=[1])
        both = detections([at(71), cover], classes=[0, 1])
        return [*[detections([at(50), cover], classes=[0, 1])] * 4, *[nearer] * 4, both]

    settings = full(refind_s=0.0, adopt_s=0.2, uncertainty_margin=0.0)
    # Covers 7 of 20 px in width; 5 are a quarter of the box; one that ends higher up is behind it.
    assert run(Tracker(settings), story([63, 25, 90, 60]))[-1] == [1, 2]
    assert run(Tracker(settings), story([65, 25, 90, 60]))[-1] == [3, 2]
    assert run(Tracker(settings), story([63, 5, 90, 49]))[-1] == [3, 2]
    # The reach grows no more after adopt_s: (0.5 + 2 x 0.2) x 20 = 18 px; after 0.5 s it would be 30 px.
    short = full(refind_s=0.0, adopt_s=0.2, uncertainty_margin=0.0, adopt_reach=0.5, adopt_speed=2.0)
    assert run(Tracker(short), story([63, 25, 90, 60]))[-1] == [3, 2]
    # Never means never.
    never = full(refind_s=0.0, adopt_s=0.0, uncertainty_margin=0.0)
    assert run(Tracker(never), story([63, 25, 90, 60]))[-1] == [3, 2]
