"""Turns points, or image tags, into masks with the network that learnt from them, as a folder that trains the
deployable network.

    python training/pseudo_labels.py --run runs/two --data CLICKS --out MASKS
    python training/train.py --method wsmots --labels pseudo --data MASKS --out runs/three

The run is one of wise, community or jtsm. MASKS has the layout of KITTI MOTS, with every image as a sequence of its
own: neither points nor tags say what is the same object in the next image.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import numpy as np
from tqdm import tqdm

from training.pseudo_folder import write_note
from training.score import load_run
from training.tag_masks import tag_masks
from wsperception.data.clips import ClipSettings
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.tagged_frames import read_tagged_frames
from wsperception.errors import InputError
from wsperception.learn.methods import wise
from wsperception.learn.points.lcfcn import point_pixels
from wsperception.learn.points.wise_masks import masks_of_points, read_maps
from wsperception.nets.community_net import CommunityNet
from wsperception.nets.jtsm_net import JtsmNet
from wsperception.nets.wise_net import WiseNet
from wsperception.preprocess import letterbox
from wsperception.rle import encode_label_map, mots_class_numbers
from wsperception.types import LabelSpace


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 the input was wrong."""
    options = _parse(arguments)
    try:
        objects, lost = write_masks(options.run, tuple(options.data), options.split, options.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: masks of {objects} objects; {lost} points, or tags, without a pixel of their own")
    return 0


def write_masks(run: Path, roots: tuple[Path, ...], split: str, out: Path) -> tuple[int, int]:
    """Writes the folder, whole or not at all; the numbers of masks, and of points, or tags of things, that got none.

    Raises InputError where `out` exists, and for an unreadable run or data.
    """
    if out.exists():
        raise InputError(f"{out}: exists; expected a new folder")
    frames, masks, labels = _frames(run, roots, split)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{out.name}.", suffix=".partial", dir=out.parent))
    folder.chmod(0o755)  # mkdtemp lets only its owner in
    objects = lost = 0
    try:
        (folder / "training/instances_txt").mkdir(parents=True)
        for number, frame in enumerate(tqdm(frames, "masks", disable=not sys.stderr.isatty())):
            images = folder / "training/image_02" / f"{number:06d}"
            images.mkdir(parents=True)
            shutil.copy2(frame.path, images / f"000000{frame.path.suffix.lower()}")
            ids, class_ids = masks(frame)
            lines = _lines(ids, class_ids, labels)
            (folder / "training/instances_txt" / f"{number:06d}.txt").write_text("".join(lines))
            objects, lost = objects + len(lines), lost + len(class_ids) - len(lines)
        write_note(folder, run, objects, lost)
        folder.rename(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return objects, lost


def _frames(
    run: Path, roots: tuple[Path, ...], split: str
) -> tuple[list[LabelledFrame], Callable[[LabelledFrame], tuple[np.ndarray, np.ndarray]], LabelSpace]:
    """The images, what gives the map and the classes of the objects of one of them, and all classes."""
    net, settings, data = load_run(run)
    if isinstance(net, WiseNet):
        frames = read_labelled_frames(roots, split, data.labels, "points", data.points_from)
        return frames, partial(point_masks, net, settings, data), data.labels
    if isinstance(net, CommunityNet | JtsmNet):
        return read_tagged_frames(roots, split, data.labels), partial(tag_masks, net, settings, data), data.labels
    raise InputError(f"{run}: expected a run of wise, community or jtsm")


def point_masks(
    net: WiseNet, settings: wise.Settings, data: ClipSettings, frame: LabelledFrame
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) uint16: the number of the point, from 1, whose object each pixel of the image shows; 0 background. And the
    classes (P,) of the points.

    Where proposals of two objects overlap, the smaller one lies on top.
    """
    image = cv2.imread(str(frame.path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise InputError(f"{frame.path}: expected an image that OpenCV reads")
    assert frame.weak is not None and frame.weak.points is not None and frame.weak.point_classes is not None
    picture, placing = letterbox(image, data.input_size)
    points = placing.to_input(np.tile(frame.weak.points, 2))[:, :2]
    pixels = point_pixels(points, data.input_size)
    rows, columns = placing.content_size
    segments = wise.wise_segments(picture, settings)
    found = masks_of_points(read_maps(net, picture), segments, pixels, frame.weak.point_classes.astype(np.int64))
    ids = np.zeros(data.input_size, np.uint16)
    for row in np.argsort(-found.masks.sum(axis=(1, 2)), kind="stable").tolist():
        ids[found.masks[row]] = row + 1
    size = (image.shape[1], image.shape[0])
    resized: np.ndarray = cv2.resize(ids[:rows, :columns], size, interpolation=cv2.INTER_NEAREST_EXACT)
    return resized, frame.weak.point_classes


def _lines(ids: np.ndarray, class_ids: np.ndarray, labels: LabelSpace) -> list[str]:
    """MOTS lines of the objects, of classes (N,) in the order of their ids from 1, that have a pixel."""
    numbers = mots_class_numbers(labels)
    counts = encode_label_map(ids, len(class_ids) + 1)
    lines = []
    for row, class_id in enumerate(class_ids.tolist(), start=1):
        if (ids == row).any():
            number = numbers[class_id]
            text = counts[row].decode("ascii")
            lines.append(f"0 {1000 * number + row} {number} {ids.shape[0]} {ids.shape[1]} {text}\n")
    return lines


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run of wise, community or jtsm")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="images with points, or tags, as training reads them"
    )
    parser.add_argument("--split", default="all", help="sequences: all, train, val, fulltrain, or names and commas")
    parser.add_argument("--out", type=Path, required=True, help="folder that does not exist yet")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
