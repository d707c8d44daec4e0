"""The full association: which scores begin, confirm and carry a track."""

from stories import NOTHING, at, detections, full, moving, run

from wsperception.tracking import Tracker


def test_low_scores_go_on_with_tracks_and_begin_none():
    weak = {"scores": [0.2, 0.2]}
    story = [detections([at(50)]), detections([at(50), at(200)], **weak), detections([at(50), at(200)], **weak)]
    assert run(Tracker(full(low_score=0.15)), story) == [[1], [1, 0], [1, 0]]
    assert run(Tracker(full(low_score=0.3)), story) == [[1], [0, 0], [0, 0]]


def test_low_scores_lengthen_no_long_gap():
    story = [*moving(10, 0.3, 0.0), *[NOTHING] * 4, detections([at(20)], scores=[0.2])]
    assert run(Tracker(full(low_lost_s=0.6)), story)[-1] == [1]
    assert run(Tracker(full(low_lost_s=0.4)), story)[-1] == [0]


def test_tracks_begin_from_min_score_and_go_on_from_high_score():
    # The weak one lies nearer. Equals compete; a low one only takes what the others leave.
    story = [detections([at(50)]), detections([at(50), at(58), at(200)], scores=[0.5, 0.95, 0.5])]
    assert run(Tracker(full(min_score=0.9, high_score=0.4)), story)[-1] == [1, 2, 0]
    assert run(Tracker(full(min_score=0.9, high_score=0.6)), story)[-1] == [0, 1, 0]
    assert run(Tracker(full(min_score=0.3, high_score=0.6)), story)[-1] == [1, 2, 3]  # never above min_score


def test_a_track_gets_its_id_when_it_is_seen_clearly_enough_again():
    story = [detections([at(50)], scores=[score]) for score in (0.8, 0.3, 0.49, 0.5, 0.2)]
    settings = {"confirm_s": 0.1, "confirm_score": 1.0, "confirm_again_score": 0.5}
    assert run(Tracker(full(**settings, min_score=0.6)), story) == [[0], [0], [0], [1], [1]]
    assert run(Tracker(full(**settings, min_score=0.4)), story) == [[0], [0], [1], [1], [1]]  # never above min_score
    # It has to be seen for confirm_s as well.
    assert run(Tracker(full(**{**settings, "confirm_s": 0.4}, min_score=0.6)), story) == [[0], [0], [0], [0], [0]]
