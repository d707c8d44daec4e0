"""What is drawn on a frame: tints, contours, boxes and plates."""

import numpy as np
import pytest

from wsperception.overlay import draw_overlay, segment_colours, track_colour
from wsperception.types import VOID, LabelSpace, SegmentMap

LABELS = LabelSpace(("car", "pedestrian", "road"), (True, True, False))


def segments_of(ids: np.ndarray, class_ids: list[int], track_ids: list[int], boxes: list[list[float]]) -> SegmentMap:
    return SegmentMap(
        ids.astype(np.uint16),
        np.array([VOID, *class_ids], np.int32),
        np.array([0.0] + [0.9] * len(class_ids), np.float32),
        np.array([0, *track_ids], np.int32),
        np.array([[0, 0, 0, 0], *boxes], np.float32),
    )


@pytest.fixture
def scene() -> tuple[np.ndarray, SegmentMap]:
    """A car with id 7 at rows 60 to 99, columns 20 to 79 of a grey image of 120 x 200."""
    ids = np.zeros((120, 200), int)
    ids[60:100, 20:80] = 1
    return np.full((120, 200, 3), 100, np.uint8), segments_of(ids, [0], [7], [[20, 60, 80, 100]])


def test_inside_is_tinted_and_the_contour_is_the_tracks_colour(scene):
    image, segments = scene
    drawn = draw_overlay(image, segments, LABELS)
    colour = np.array(track_colour(7))
    # inside: 0.55 * 100 + 0.45 * colour
    np.testing.assert_allclose(drawn[80, 50], 55 + 0.45 * colour, atol=1)
    np.testing.assert_array_equal(drawn[80, 20], colour)
    np.testing.assert_array_equal(drawn[99, 50], colour)


def test_outside_and_the_input_stay_as_they_are(scene):
    image, segments = scene
    drawn = draw_overlay(image, segments, LABELS)
    assert (image == 100).all()
    assert (drawn[:40] == 100).all()  # above the plate
    assert (drawn[60:, 85:] == 100).all()
    assert (drawn[101:] == 100).all()


def test_a_plate_in_the_tracks_colour_stands_above_the_box(scene):
    image, segments = scene
    drawn = draw_overlay(image, segments, LABELS)
    above = drawn[45:60, 20:80].reshape(-1, 3)
    assert (above == track_colour(7)).all(axis=1).sum() > 100  # the plate
    assert (above.max(axis=1) < 90).sum() > 20  # dark letters on it


def test_plate_stays_inside_the_image_and_off_other_plates():
    ids = np.zeros((120, 200), int)
    ids[0:40, 150:200] = 1
    ids[2:42, 100:150] = 2
    boxes = [[150.0, 0.0, 200.0, 40.0], [149.0, 2.0, 160.0, 42.0]]
    drawn = draw_overlay(np.zeros((120, 200, 3), np.uint8), segments_of(ids, [0, 1], [3, 4], boxes), LABELS)
    for track_id in (3, 4):
        assert (drawn == track_colour(track_id)).all(axis=2).sum() > 300  # neither plate hides the other


def test_boxes_beyond_the_edges_and_a_tiny_image_do_no_harm():
    ids = np.ones((4, 5), int)
    segments = segments_of(ids, [0], [1], [[-30.0, -30.0, 90.0, 90.0]])
    assert draw_overlay(np.zeros((4, 5, 3), np.uint8), segments, LABELS, "frame 1").shape == (4, 5, 3)


def test_nothing_to_draw_gives_the_picture():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_overlay(image, SegmentMap.empty((30, 40)), LABELS), image)


def test_caption_is_written_into_the_lower_left_corner():
    image = np.full((100, 200, 3), 128, np.uint8)
    drawn = draw_overlay(image, SegmentMap.empty((100, 200)), LABELS, "frame 12")
    assert (drawn[85:, :40] != 128).any()
    assert (drawn[:80] == 128).all()
    assert (drawn[:, 120:] == 128).all()


def test_colours_follow_the_track_not_the_row():
    ids = np.array([[1, 2, 3, 4]])
    boxes = [[0.0, 0, 1, 1]] * 4
    colours = segment_colours(segments_of(ids, [0, 1, 0, 2], [9, 2, 0, 0], boxes), LABELS)
    np.testing.assert_array_equal(colours[0], (0, 0, 0))
    np.testing.assert_array_equal(colours[1], track_colour(9))
    np.testing.assert_array_equal(colours[2], track_colour(2))
    assert len(set(colours[3])) == 1  # grey: a thing without a track
    assert len(set(colours[4])) == 3  # stuff


def test_tracks_that_follow_each_other_look_different():
    colours = np.array([track_colour(number) for number in range(1, 41)], float)
    steps = np.abs(np.diff(colours, axis=0)).sum(axis=1)
    assert steps.min() > 150
    assert len({tuple(colour) for colour in colours}) == 40


def test_every_plate_of_a_crowd_is_seen():
    # six boxes of 12 x 12 whose plates are five times as wide
    ids = np.zeros((200, 300), int)
    boxes = []
    for number in range(6):
        x = 100 + 15 * number
        ids[150:162, x : x + 12] = number + 1
        boxes.append([float(x), 150.0, x + 12.0, 162.0])
    drawn = draw_overlay(np.zeros((200, 300, 3), np.uint8), segments_of(ids, [0] * 6, list(range(1, 7)), boxes), LABELS)
    for track_id in range(1, 7):
        rows = np.nonzero((drawn == track_colour(track_id)).all(axis=2))[0]
        beyond_box = (rows < 149) | (rows > 163)
        assert beyond_box.sum() > 150


@pytest.fixture
def street() -> tuple[np.ndarray, SegmentMap]:
    """A grey image of 120 x 200: a car with id 7 before road (lines 60 on) and wall; columns 180 on are void."""
    ids = np.full((120, 200), 3)
    ids[60:] = 2
    ids[50:90, 80:140] = 1
    ids[:, 180:] = 0
    boxes = [[80, 50, 140, 90], [0, 60, 180, 120], [0, 0, 180, 60]]
    return np.full((120, 200, 3), 100, np.uint8), segments_of(ids, [0, 1, 2], [7, 0, 0], boxes)


STREET_LABELS = LabelSpace(("car", "road", "wall"), (True, False, False))


def test_stuff_is_tinted_faintly_and_has_no_contour(street):
    image, segments = street
    drawn = draw_overlay(image, segments, STREET_LABELS)
    colours = segment_colours(segments, STREET_LABELS)
    # 0.65 * 100 + 0.35 * colour, on the edge between the two as well; the car as ever, 0.55 * 100 + 0.45 * colour
    np.testing.assert_allclose(drawn[110, 20], 65 + 0.35 * colours[2], atol=1)
    np.testing.assert_allclose(drawn[60, 160], 65 + 0.35 * colours[2], atol=1)
    np.testing.assert_allclose(drawn[59, 160], 65 + 0.35 * colours[3], atol=1)
    np.testing.assert_allclose(drawn[80, 110], 55 + 0.45 * np.array(track_colour(7)), atol=1)
    np.testing.assert_array_equal(drawn[70, 80], track_colour(7))  # its contour
    np.testing.assert_allclose(drawn[70, 78], 65 + 0.35 * colours[2], atol=1)  # none beside it
    assert (drawn[:, 180:] == 100).all()


def test_a_legend_names_the_stuff_that_is_seen(street):
    image, segments = street
    colours = segment_colours(segments, STREET_LABELS)
    drawn = draw_overlay(image, segments, STREET_LABELS)
    heads = [(drawn[:40, :60] == colours[row]).all(axis=2) for row in (2, 3)]
    assert [head.sum() > 150 for head in heads] == [True, True]
    road, wall = (np.nonzero(head)[0] for head in heads)
    assert road.max() < wall.min()  # one below the other, in the order of the rows
    without = draw_overlay(image, segments_of((segments.ids == 1) * 1, [0], [7], [[80, 50, 140, 90]]), STREET_LABELS)
    assert (without[:40, :60] == 100).all()


def test_a_legend_ends_where_the_image_does():
    names = tuple(f"class {number}" for number in range(12))
    labels = LabelSpace(names, (False,) * 12)
    ids = np.arange(1, 13)[None].repeat(30, axis=0)
    segments = segments_of(ids, list(range(12)), [0] * 12, [[number, 0, number + 1, 30] for number in range(12)])
    assert draw_overlay(np.zeros((30, 12, 3), np.uint8), segments, labels).shape == (30, 12, 3)
