from pathlib import Path

import pytest

from wsperception.data.cvat import read_cvat_video
from wsperception.data.cvat_mot import images_in_order, read_cvat_mot
from wsperception.data.kitti_detection import find_detection_folders, read_detections
from wsperception.errors import InputError
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
META = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>street</name><start_frame>{start}</start_frame><stop_frame>{stop}</stop_frame>
  <frame_filter>{step}</frame_filter></task></meta>
"""


def images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def box(frame: int, corners: str = "1 2 4 8", more: str = 'outside="0"') -> str:
    values = zip(("xtl", "ytl", "xbr", "ybr"), corners.split(), strict=True)
    return f'<box frame="{frame}" keyframe="1" occluded="0" {more} ' + " ".join(f'{k}="{v}"' for k, v in values) + "/>"


def video(folder: Path, tracks: str, start: int = 0, stop: int = 2, step: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = META.format(start=start, stop=stop, step=step) + tracks + "\n</annotations>\n"
    (folder / "annotations.xml").write_text(text)
    return folder


def mot(folder: Path, rows: str, labels: str = "Car\npedestrian\nVan", names: tuple[str, ...] = ()) -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text(rows)
    (folder / "gt" / "labels.txt").write_text(labels)
    images(folder / "img1", *(names or ("frame_000000.jpg", "frame_000001.jpg")))
    return folder


def test_tracks_by_hand(tmp_path: Path) -> None:
    tracks = f"""
      <track id="4" label="Car" source="manual">{box(0)}{box(1, "2.5 2 5.5 8")}{box(2, more='outside="1"')}</track>
      <track id="5" label="pedestrian">{box(1, "7 1 9 5")}</track>
      <track id="6" label="ignore">{box(1, "0 0 3 3")}</track>"""
    folder = video(tmp_path / "street", tracks)
    images(folder / "images", "frame_000000.PNG", "frame_000001.PNG", "frame_000002.PNG")
    found = read_cvat_video(folder, LABELS)
    assert found.name == "street"
    assert [path.name for path in found.images.values()] == ["frame_000000.PNG", "frame_000001.PNG", "frame_000002.PNG"]
    assert list(found.labels.frames) == [0, 1]
    second = found.labels.frames[1]
    assert second.boxes.tolist() == [[2.5, 2, 5.5, 8], [7, 1, 9, 5]]
    assert second.class_ids.tolist() == [0, 1]
    assert second.track_ids.tolist() == [4, 5]
    assert second.ignore_boxes.tolist() == [[0, 0, 3, 3]]
    assert found.labels.dropped == {}


def test_images_without_numbers_are_the_frames_in_order(tmp_path: Path) -> None:
    folder = video(tmp_path, f'<track id="0" label="car">{box(14)}</track>', start=10, stop=14, step="step=2")
    images(folder / "images", "b9.png", "b10.png", "a.png")
    found = read_cvat_video(folder, LABELS)
    assert {number: path.name for number, path in found.images.items()} == {10: "a.png", 12: "b9.png", 14: "b10.png"}
    (folder / "images" / "a.png").unlink()
    with pytest.raises(InputError, match=r"images: expected 3 images, as annotations\.xml says, found 2"):
        read_cvat_video(folder, LABELS)


def test_what_is_no_upright_box(tmp_path: Path) -> None:
    # 4 x 2 about (5, 5), turned by 90 degrees, is 2 x 4: x 4 to 6, y 3 to 7.
    turned = box(0, "3 4 7 6", 'outside="0" rotation="90.00"')
    tracks = f"""<track id="0" label="car">{turned}<polygon frame="1" outside="0" points="1,2;3,4"/>
      <polygon frame="2" outside="1" points="1,2;3,4"/><mask frame="1" outside="0" rle="1, 2"/>{box(2, "5 5 5 9")}
      </track>"""
    folder = video(tmp_path, tracks)
    images(folder / "images", "frame_000000.png")
    found = read_cvat_video(folder, LABELS).labels
    assert found.frames[0].ignore_boxes[0].tolist() == pytest.approx([4, 3, 6, 7])
    assert found.dropped == {
        "rotated box, ignored": 1,
        "polygon where a box was expected": 1,
        "mask where a box was expected": 1,
        "box without area": 1,
    }


@pytest.mark.parametrize(
    ("tracks", "line", "complaint"),
    [
        (f'<track id="0" label="bus">{box(0)}</track>', 6, "class 'bus' is unknown; expected one of car, pedestrian"),
        (f'<track id="0" label="car">\n{box(0, "5 2 4 8")}</track>', 7, "expected x0 <= x1 and y0 <= y1, got 5 2 4 8"),
        (f'<track id="0" label="car">{box(0)}\n{box(0)}</track>', 7, "car 0 is there twice in one frame"),
        (f'<track id="0" label="car">{box(0, "a 2 4 8")}</track>', 6, "xtl: expected a number, got 'a'"),
        (f'<track label="car">{box(0)}</track>', 6, "id of a track: expected a number, got ''"),
        (f'<track id="0" label="car">{box(-1)}</track>', 6, "expected frame and id >= 0, got -1 and 0"),
        ('<image id="0" name="a.png"/>', 6, "single images, without ids; expected tracks: export 'CVAT for video 1.1'"),
        ('<track id="0" task_id="1"/><track id="0" task_id="2"/>', 6, "tracks of several tasks; expected one"),
        ("<track", 7, "not an XML file: not well-formed"),
    ],
)
def test_faults_of_tracks_name_file_and_line(tmp_path: Path, tracks: str, line: int, complaint: str) -> None:
    folder = video(tmp_path, tracks)
    with pytest.raises(InputError) as caught:
        read_cvat_video(folder, LABELS)
    assert str(caught.value).startswith(f"{folder}/annotations.xml:{line}: ")
    assert complaint in str(caught.value)


def test_entities_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "annotations.xml"
    for declaration in ('<!ENTITY x SYSTEM "secret">', '<!ENTITY x "aaaa">'):
        path.write_text(
            f"<?xml version='1.0'?>\n<!DOCTYPE annotations [{declaration}]>\n<annotations>&x;</annotations>"
        )
        with pytest.raises(InputError, match=r"annotations\.xml:2: a document type; expected CVAT's XML"):
            read_cvat_video(tmp_path, LABELS)
    path.write_text("<labels/>")
    with pytest.raises(
        InputError, match=r"annotations\.xml:1: expected <annotations>, as CVAT writes it, got <labels>"
    ):
        read_cvat_video(tmp_path, LABELS)


def test_an_export_without_images(tmp_path: Path) -> None:
    folder = video(tmp_path, f'<track id="0" label="car">{box(0)}</track>')
    with pytest.raises(
        InputError, match="images: no such folder; expected images: export from CVAT with 'Save images'"
    ):
        read_cvat_video(folder, LABELS)


def test_mot_of_a_video(tmp_path: Path) -> None:
    # Pixels as they are, the frame from 1. Class 3 is Van: ignored, as is what is marked so.
    rows = "1,1,0.5,2,3,6,1,1,1.0\n2,1,1,2,3,6,1,1,1.0\n2,2,7,1,2,4,1,2,1.0\n2,3,0,0,3,3,1,3,1.0\n2,4,5,5,1,1,0,2,1.0\n"
    found = read_cvat_mot(mot(tmp_path / "street", rows), LABELS)
    assert found.has_ids
    assert {number: path.name for number, path in found.images.items()} == {
        0: "frame_000000.jpg",
        1: "frame_000001.jpg",
    }
    assert found.labels.frames[0].boxes.tolist() == [[0.5, 2, 3.5, 8]]
    second = found.labels.frames[1]
    assert second.class_ids.tolist() == [0, 1]
    assert second.track_ids.tolist() == [1, 2]
    assert second.ignore_boxes.tolist() == [[0, 0, 3, 3], [5, 5, 6, 6]]


def test_mot_of_numbered_images(tmp_path: Path) -> None:
    found = read_cvat_mot(mot(tmp_path, "60,1,1,2,3,4,1,1,1\n", names=("000060.png", "000007.png")), LABELS)
    assert list(found.images) == [7, 60]
    assert list(found.labels.frames) == [60]


def test_mot_without_ids(tmp_path: Path) -> None:
    some = read_cvat_mot(mot(tmp_path / "some", "1,-1,1,2,3,4,1,1,1\n1,1,5,2,3,4,1,1,1\n"), LABELS)
    assert some.has_ids
    assert some.labels.frames[0].boxes.tolist() == [[5, 2, 8, 6]]
    assert some.labels.frames[0].ignore_boxes.tolist() == [[1, 2, 4, 6]]
    assert some.labels.dropped == {"box without an id, ignored": 1}
    none = read_cvat_mot(mot(tmp_path / "none", "1,-1,1,2,3,4,1,1,1\n1,-1,5,2,3,4,1,1,1\n"), LABELS)
    assert not none.has_ids
    assert none.labels.frames[0].track_ids.tolist() == [0, 1]
    assert none.labels.dropped == {}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("1,1,1,2,3,4,1,4,1", "expected a class from 1 to 3, as in gt/labels.txt, got 4"),
        ("1,1,1,2,3,4,1,-1,1", "expected a class from 1 to 3, as in gt/labels.txt, got none"),
        ("0,1,1,2,3,4,1,1,1", "expected a frame >= 1, got 0"),
        ("1,1,1,2,3,-4,1,1,1", "expected a width and height >= 0, got 3 and -4"),
    ],
)
def test_faults_of_mot_name_file_and_line(tmp_path: Path, row: str, complaint: str) -> None:
    folder = mot(tmp_path / "a", row + "\n")
    with pytest.raises(InputError) as caught:
        read_cvat_mot(folder, LABELS)
    assert str(caught.value) == f"{folder}/gt/gt.txt:1: {complaint}"
    unknown = mot(tmp_path / "b", "1,1,1,2,3,4,1,1,1", labels="bus")
    with pytest.raises(
        InputError, match=r"gt\.txt:1: class 'bus' is unknown; expected one of car, pedestrian, or to be"
    ):
        read_cvat_mot(unknown, LABELS)


def test_natural_order(tmp_path: Path) -> None:
    images(tmp_path / "b", "2.png", "10.jpg", "notes.txt")
    images(tmp_path / "a10", "1.png")
    images(tmp_path / "a9", "1.png")
    found = [path.relative_to(tmp_path).as_posix() for path in images_in_order(tmp_path)]
    assert found == ["a9/1.png", "a10/1.png", "b/2.png", "b/10.jpg"]


def test_kitti_objects(tmp_path: Path) -> None:
    folder = tmp_path / "default"
    images(folder / "image_2", "b.png", "a.png")
    (folder / "label_2").mkdir()
    tail = " -1 -1 -1 -1 -1 -1 -1 1.0"
    path = folder / "label_2" / "b.txt"
    path.write_text(
        f"car 0.0 0 -1 1 2 4.5 8{tail}\ncar 0.0 1 -1 5 2 6 8{tail}\nDontCare -1 -1 -10 0 0 1 1 -1 -1 -1 -1 -1 -1 -1\n"
    )
    assert find_detection_folders(tmp_path) == [folder]
    assert find_detection_folders(folder) == [folder]
    found = read_detections(folder, LABELS)
    assert not found.has_ids
    assert [path.name for path in found.images.values()] == ["a.png", "b.png"]
    assert list(found.labels.frames) == [1]
    assert found.labels.frames[1].boxes.tolist() == [[1, 2, 4.5, 8], [5, 2, 6, 8]]
    assert found.labels.frames[1].ignore_boxes.tolist() == [[0, 0, 1, 1]]
    path.write_text(f"car 0.0 0 -1 9 2 4.5 8{tail}\n")
    with pytest.raises(InputError, match=r"b\.txt:1: expected x0 <= x1 and y0 <= y1, got 9 2 4\.5 8"):
        read_detections(folder, LABELS)
    path.write_text("0 1 Car 0 0 -10 1 2 3 4 -1 -1 -1 -1 -1 -1 -1\n")
    with pytest.raises(InputError, match=r"b\.txt:1: expected 15 or 16 columns of KITTI's object labels, got 17"):
        read_detections(folder, LABELS)
    path.rename(folder / "label_2" / "c.txt")
    with pytest.raises(InputError, match=r"c\.txt: expected an image c in "):
        read_detections(folder, LABELS)
