"""The page in a real browser: what hand and keyboard do arrives in the label file."""

import pytest
from moving_square import SHIFT, SQUARE

from wsperception.overlay import track_colour


def test_a_click_is_a_point_and_a_drag_is_a_box(desk):
    desk.click(150, 90)
    desk.drag(*SQUARE)
    first = desk.saved()
    assert [(p.class_name, p.track_id) for p in first.points] == [("car", 1)]
    assert first.points[0].point == pytest.approx((150, 90), abs=0.6)
    assert desk.boxes() == [("car", 2, SQUARE)]
    assert first.tags is None and first.ignore is None


def test_point_and_box_of_one_object_share_its_id(desk):
    desk.click(65, 50)
    desk.drag(*SQUARE)
    first = desk.saved()
    assert first.points[0].track_id == first.boxes[0].track_id == 1
    desk.drag(100, 20, 160, 100)
    desk.click(130, 60)  # in the selected box: a point of its object
    first = desk.saved()
    assert [b.track_id for b in first.boxes] == [p.track_id for p in first.points] == [1, 2]
    desk.page.key("]")
    first = desk.saved()
    assert [b.track_id for b in first.boxes] == [p.track_id for p in first.points] == [1, 3]


def test_keys_change_class_and_id(desk):
    desk.drag(*SQUARE)
    desk.page.key("2")
    assert desk.boxes() == [("pedestrian", 1, SQUARE)]
    desk.page.key("]")
    assert desk.boxes() == [("pedestrian", 2, SQUARE)]
    desk.page.key("[")
    desk.page.key("e")
    for digit in "47":
        desk.page.key(digit)
    desk.page.key("Enter")
    assert desk.boxes() == [("pedestrian", 47, SQUARE)]
    desk.page.key("Escape")
    desk.drag(100, 20, 160, 100)  # the class stays, the next free id comes
    assert desk.boxes()[1] == ("pedestrian", 48, (100, 20, 160, 100))
    desk.page.key("1")
    for _ in range(2):
        desk.page.key("[")
    assert desk.boxes()[1][:2] == ("car", 46)
    desk.page.key("2")
    desk.page.key("]")  # 47 is taken by the other pedestrian: the next free one
    assert desk.boxes()[1][:2] == ("pedestrian", 48)


def test_a_box_is_moved_resized_and_deleted(desk):
    desk.drag(*SQUARE)  # 40 30 90 70
    desk.drag(65, 50, 75, 45)
    assert desk.boxes() == [("car", 1, (50, 25, 100, 65))]
    desk.drag(100, 65, 120, 80)  # the lower right corner
    assert desk.boxes() == [("car", 1, (50, 25, 120, 80))]
    desk.drag(50, 52.5, 60, 10)  # the middle of the left side: up and down do nothing
    assert desk.boxes() == [("car", 1, (60, 25, 120, 80))]
    desk.drag(90, 50, -500, 50)  # not out of the image
    assert desk.boxes() == [("car", 1, (0, 25, 60, 80))]
    desk.drag(20, 30, 40, 60, "Shift")  # a new one inside
    assert desk.boxes()[1] == ("car", 2, (20, 30, 40, 60))
    desk.page.key("Delete")
    assert len(desk.boxes()) == 1
    desk.click(0.5, 40)  # its edge: selects
    desk.page.key("Delete")
    assert desk.saved().boxes is None  # nobody said that nothing is there


def test_a_point_is_moved(desk):
    desk.click(150, 90)
    desk.drag(150, 90, 160, 70)
    assert desk.saved().points[0].point == pytest.approx((160, 70), abs=0.6)
    assert len(desk.saved().points) == 1


def test_undo_and_redo_over_frames(desk):
    desk.drag(*SQUARE)
    desk.page.key("2")
    desk.page.key("d")
    desk.click(20, 100)
    assert len(desk.saved(1).points) == 1
    desk.page.key("z", "Control")
    assert desk.saved(1).points is None
    desk.page.key("z", "Control")
    assert "frame 0" in desk.text("#frame")
    assert desk.boxes() == [("car", 1, SQUARE)]
    desk.page.key("z", "Control")
    assert desk.saved().boxes is None
    for _ in range(2):
        desk.page.key("y", "Control")
    assert desk.boxes() == [("pedestrian", 1, SQUARE)]
    desk.page.key("z", "Control", "Shift")
    assert len(desk.saved(1).points) == 1


def test_objects_are_carried_to_the_next_frame(desk):
    desk.drag(*SQUARE)
    desk.page.key("2")
    desk.click(65, 50)
    desk.page.key("f")
    desk.page.wait_for("document.getElementById('toast').innerText === '2 carried over'")
    second = desk.saved(1)
    assert (second.boxes[0].class_name, second.boxes[0].track_id) == ("pedestrian", 1)
    expected = [SQUARE[0] + SHIFT[0], SQUARE[1] + SHIFT[1], SQUARE[2] + SHIFT[0], SQUARE[3] + SHIFT[1]]
    assert second.boxes[0].box == pytest.approx(expected, abs=1)
    assert second.points[0].track_id == 1
    assert second.points[0].point == pytest.approx((65 + SHIFT[0], 50 + SHIFT[1]), abs=1.5)
    assert "frame 5" in desk.text("#frame")
    desk.page.key("z", "Control")
    assert desk.saved(1).boxes is None and desk.saved(1).points is None
    desk.page.key("a")
    desk.page.key("f")
    desk.page.wait_for("document.getElementById('frame').innerText.includes('frame 5')")
    assert len(desk.saved(1).boxes) == 1
    desk.page.key("f")
    desk.page.wait_for("document.getElementById('toast').innerText === 'This is the last frame'")


def test_tags_nothing_here_and_ignore_regions(desk):
    desk.page.key("2", "Shift")
    assert desk.saved().tags == ("pedestrian",)
    desk.page.key("2", "Shift")
    assert desk.saved().tags == ()
    desk.page.key("i")
    desk.drag(150, 5, 195, 25)
    assert [tuple(map(round, box)) for box in desk.saved().ignore] == [(150, 5, 195, 25)]
    desk.click(100, 100)  # the tool has no use for a click
    desk.page.key("b")
    desk.click(20, 100)  # this one neither
    assert desk.saved().points is None and desk.saved().boxes is None
    desk.page.key("n")
    assert desk.saved().boxes == () and desk.saved().points is None
    assert desk.text('[data-kind="boxes"]') == "nothing here"
    assert desk.text('[data-kind="points"]') == "not annotated"
    desk.page.key("n")
    assert desk.saved().boxes is None
    desk.page.key("o")
    desk.page.key("n")
    assert desk.saved().boxes == () and desk.saved().points == ()
    assert "1 of 2 frames labelled" in desk.text("#progress")
    desk.page.key("u")
    assert "frame 5" in desk.text("#frame")


def test_zoom_and_pan_keep_places(desk):
    before = desk.at(65, 50)
    desk.page.call("Input.dispatchMouseEvent", type="mouseWheel", x=before[0], y=before[1], deltaX=0, deltaY=-300)
    desk.page.settle()
    zoomed = desk.at(65, 50)
    assert zoomed == pytest.approx(before, abs=1.5)  # the wheel tells whole pixels
    assert desk.at(66, 50)[0] - zoomed[0] > 10
    desk.page.call("Input.dispatchKeyEvent", type="keyDown", key=" ", code="Space", windowsVirtualKeyCode=32)
    desk.page.drag(before, (before[0] + 40, before[1] + 25))
    desk.page.call("Input.dispatchKeyEvent", type="keyUp", key=" ", code="Space", windowsVirtualKeyCode=32)
    desk.page.settle()
    assert desk.at(65, 50) == pytest.approx((zoomed[0] + 40, zoomed[1] + 25), abs=0.01)
    assert desk.saved().boxes is None
    desk.drag(60, 45, 75, 60)
    assert desk.boxes() == [("car", 1, (60, 45, 75, 60))]
    desk.page.key("0")
    desk.page.settle()
    assert desk.at(65, 50) == pytest.approx(before, abs=0.01)


def test_colours_are_those_of_the_overlay(desk):
    script = "import('/page/palette.js').then((p) => Array.from({length: 300}, (_, id) => p.trackColour(id)))"
    assert desk.page.evaluate(script) == [f"rgb({r}, {g}, {b})" for r, g, b in map(track_colour, range(300))]


def test_every_key_that_is_shown_does_something(desk):
    shown = desk.text("#keys")
    for key in "OPBIV":
        desk.page.key(key.lower())
        assert desk.page.evaluate("document.querySelector('#tools [aria-checked=true] kbd').innerText") == key
        assert f"\n{key}\n" in f"\n{shown}\n" or shown.startswith(key)
    desk.page.key("b")
    desk.drag(*SQUARE)
    desk.drag(100, 20, 140, 60)
    desk.page.key("Tab")
    assert desk.page.evaluate("document.querySelector('#objects [aria-pressed=true]').innerText").split()[1] == "1"
    desk.page.key("Escape")
    assert not desk.page.evaluate("document.querySelector('#objects [aria-pressed=true]')")
    desk.page.key("h")
    desk.page.key("ArrowRight")
    assert "frame 5" in desk.text("#frame")
    desk.page.key("ArrowLeft")
    assert "frame 0" in desk.text("#frame")
