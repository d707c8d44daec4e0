"""The full association: lost tracks found again by their embeddings."""

import numpy as np
from stories import EAST, NOTHING, SIZE, at, detections, full, run

from wsperception.tracking import Tracker
from wsperception.types import Instances


def test_found_again_by_appearance_and_only_by_appearance():
    # Gone for 2 s, longer than motion carries it, and back elsewhere. Another object looks different.
    def story(back: list[float]) -> list[Instances]:
        return [*[detections([at(50)])] * 5, *[NOTHING] * 20, detections([at(200)], [back])]

    settings = full(lost_s=1.0, refind_s=3.0, refind_min_cosine=0.8)
    assert run(Tracker(settings), story([0.96, 0.28]))[-1] == [1]
    assert run(Tracker(settings), story([0.6, 0.8]))[-1] == [2]
    assert run(Tracker(full(lost_s=1.0, refind_s=1.5)), story(EAST))[-1] == [2]


def test_not_found_again_where_two_look_alike():
    story = [*[detections([at(50)])] * 5, *[NOTHING] * 20, detections([at(150), at(250)], [EAST, [0.99, 0.141]])]
    assert run(Tracker(full(refind_margin=0.1)), story)[-1] == [2, 3]
    assert run(Tracker(full(refind_margin=0.0)), story)[-1] == [1, 2]


def test_embeddings_of_length_one_say_nothing():
    def blind(boxes: list[list[float]]) -> Instances:
        made = detections(boxes)
        ones = np.ones((len(boxes), 1), np.float32)
        return Instances(made.boxes, made.boxes, made.masks, made.scores, made.class_ids, ones, SIZE)

    assert run(Tracker(full()), [blind([at(50)]), blind([]), blind([at(200)])])[-1] == [2]
