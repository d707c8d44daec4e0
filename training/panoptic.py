"""Trains a panoptic network from boxes and tags, round by round: labels, training, new labels from what was learnt.

    python training/panoptic.py --weak DRIVE --out runs/rounds --config config/panoptic.yaml --rounds 2
    python training/panoptic.py --weak ONE --full OTHER --out runs/mixed --config config/panoptic.yaml --rounds 2
    python training/panoptic.py --full DRIVE --out runs/full --config config/panoptic.yaml

A weak folder has images, boxes and `training/tags.json` (see `wsperception.learn.panoptic.crop_tags`; of full labels
training/panoptic_tags.py makes one). A full folder has COCO panoptic labels in `training/panoptic`. Goes on where it
stopped. Below --out: tags, labels-0, round-0, labels-1, round-1, ..., each round a run of `training/train.py --method
panoptic` that starts from the one before; and rounds.html, pictures of the labels.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from training import train
from training.checkpoint import load_tensors
from training.distributed import Processes, join
from training.panoptic_labelling import Labeller, WeakImage, label_images, write_folder
from training.prepare import image_size
from training.recipe import Recipe, read_recipe
from training.results_folder import claim_folder
from training.tag_classifier import ClassifierRun, TaggedCrop, train_classifier
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.panoptic_frames import frame_name
from wsperception.data.sources.image_file import read_image
from wsperception.errors import InputError
from wsperception.learn.panoptic.cache import BoxedImage, prepare_agreed_labels, read_labels
from wsperception.learn.panoptic.crop_tags import read_tags
from wsperception.learn.panoptic.page import LabelledRounds, write_page

SHOWN = 6
"""Images of the page."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Rounds:
    """What the rounds share: the recipe, what is known of every image of the weak folders, and the command line."""

    options: argparse.Namespace
    recipe: Recipe
    images: dict[Path, list[WeakImage]]


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 the training failed, 2 the user's input was wrong."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        recipe = read_recipe("panoptic", options.config, options.set)
        with join(options.device) as processes:
            if processes.count > 1:
                raise InputError("expected one process; train a round on several GPUs by training/train.py --panoptic")
            rounds = _rounds(options, recipe)
            if options.weak:
                _train_classifier(rounds, processes)
        for number in range(options.rounds):
            folders = [_labels(rounds, root, number) for root in options.weak]
            status = _train_round(rounds, folders, number)
            if status:
                return status
        write_page(options.out / "rounds.html", _entries(rounds), recipe.labels)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _rounds(options: argparse.Namespace, recipe: Recipe) -> Rounds:
    """The rounds of the command line. What is wrong with a weak folder, or --imagenet, leaves no trace below --out."""
    read = [_tagged_frames(root, recipe) for root in options.weak]
    if options.imagenet not in (None, train.DOWNLOAD):
        load_tensors(Path(options.imagenet))
    folders = {kind: [str(root) for root in getattr(options, kind)] for kind in ("weak", "full")}
    start = {} if options.imagenet is None else {"imagenet": options.imagenet}
    claim_folder(options.out, folders | start | {"recipe": recipe.mapping()}, "rounds.json")
    images = {}
    for root, tagged in zip(options.weak, read, strict=True):
        boxed = [BoxedImage(frame.path, frame.boxes, frame.class_ids) for frame, _, _ in tagged]
        agreed = prepare_agreed_labels(boxed, recipe.method.boxes, options.out / "boxes", options.workers)
        images[root] = [WeakImage(*known, file) for known, file in zip(tagged, agreed, strict=True)]
    return Rounds(options, recipe, images)


def _tagged_frames(root: Path, recipe: Recipe) -> list[tuple[LabelledFrame, np.ndarray, np.ndarray]]:
    """The images of a weak folder with their boxes, their crops (K, 4) and what these show (K, C)."""
    frames = read_labelled_frames((root,), recipe.data.split, recipe.labels, "weak")
    tags = read_tags(root / "training/tags.json", recipe.labels)
    untagged = sum(frame_name(frame.path) not in tags.tags for frame in frames)
    if untagged:
        logger.warning("%s: %d of %d images have no tags: nothing in them is stuff", root, untagged, len(frames))
    return [(frame, *tags.of_image(frame_name(frame.path), _size(frame.path))) for frame in frames]


def _size(path: Path) -> tuple[int, int]:
    size = image_size(path, decode=False)
    if size is None:
        raise InputError(f"{path}: not a readable image")
    return size


def _train_classifier(rounds: Rounds, processes: Processes) -> None:
    crops = [
        TaggedCrop(image.frame.path, (x0, y0, x1, y1), tags)
        for images in rounds.images.values()
        for image in images
        for (x0, y0, x1, y1), tags in zip(image.crops.tolist(), image.tags, strict=True)
    ]
    if not crops:
        raise InputError("tags: expected at least one image with tags, got none")
    options = rounds.options
    run = ClassifierRun(options.out / "tags", options.imagenet, options.workers)
    train_classifier(run, crops, rounds.recipe, processes)


def _labels(rounds: Rounds, root: Path, number: int) -> Path:
    """The folder of a weak folder's labels for a round, made where it is missing."""
    out = rounds.options.out
    folder: Path = out / f"labels-{number}" / _place(rounds, root)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        files = label_images(rounds.images[root], _labeller(rounds, root, number), rounds.options.workers)
        frames = [image.frame for image in rounds.images[root]]
        write_folder(frames, files, rounds.recipe.labels, root / "training/tags.json", folder)
    return folder


def _labeller(rounds: Rounds, root: Path, number: int) -> Labeller:
    out = rounds.options.out
    source = out / "tags/weights.pt" if number == 0 else out / f"round-{number - 1}"
    kept = out / "kept" / f"{number}-{_place(rounds, root)}"
    return Labeller(source, number, rounds.recipe.method, rounds.recipe.labels, kept)


def _place(rounds: Rounds, root: Path) -> str:
    return f"{rounds.options.weak.index(root)}-{root.name}"


def _train_round(rounds: Rounds, folders: Sequence[Path], number: int) -> int:
    """Trains a round to its end, from where it stopped; the exit status of the training."""
    options, run = rounds.options, rounds.options.out / f"round-{number}"
    if (run / "weights.pt").exists():
        return 0
    rate = rounds.recipe.training.learning_rate * rounds.recipe.method.round_rate**number
    panoptic = [*folders, *(root / "training/panoptic" for root in options.full)]
    arguments = ["--method", "panoptic", "--out", str(run), "--resume", "auto", "--device", options.device]
    arguments += ["--data", *map(str, (*options.weak, *options.full)), "--panoptic", *map(str, panoptic)]
    arguments += ["--workers", str(max(options.workers, 1)), "--cache", str(options.out / "cache")]
    arguments += [] if options.config is None else ["--config", str(options.config)]
    for change in (*options.set, f"training.learning_rate={rate}"):
        arguments += ["--set", change]
    if number:
        arguments += ["--init", str(options.out / f"round-{number - 1}/weights.pt")]
    elif options.imagenet is not None:
        arguments += ["--imagenet", options.imagenet]
    return train.main(arguments)


def _entries(rounds: Rounds) -> list[LabelledRounds]:
    """Images spread over all weak ones, with their labels of each round."""
    listed = [(root, place) for root, images in rounds.images.items() for place in range(len(images))]
    chosen = [listed[row] for row in np.unique(np.linspace(0, len(listed) - 1, SHOWN).astype(int))] if listed else []
    entries = []
    for root, place in chosen:
        frame: LabelledFrame = rounds.images[root][place].frame
        kept = [_labeller(rounds, root, number).folder for number in range(rounds.options.rounds)]
        labels = [read_labels(folder / f"{place:06d}.npz") for folder in kept]
        image = read_image(frame.path)
        entries.append(LabelledRounds(frame_name(frame.path), image, frame.boxes, labels))
    return entries


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weak", type=Path, nargs="+", default=[], metavar="FOLDER", help="images, boxes and tags")
    parser.add_argument("--full", type=Path, nargs="+", default=[], metavar="FOLDER", help="images and full labels")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, help="YAML with the sections training, data and method")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--imagenet", nargs="?", const=train.DOWNLOAD, metavar="FILE",
        help="start both networks from torchvision's ImageNet weights; without FILE they are downloaded",
    )  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=int, default=0, help="processes that make labels; threads that read images")
    options = parser.parse_args(arguments)
    if not options.weak and not options.full:
        parser.error("expected --weak or --full")
    if options.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {options.rounds}")
    return options


if __name__ == "__main__":
    sys.exit(main())
