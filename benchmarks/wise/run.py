"""Table 1 of WISE on windows of synthetic drives, and what minutes of labelling buy with points, boxes and masks.

    python -m benchmarks.wise.run --out out/wise                        # Table 1, three seeds
    python -m benchmarks.wise.run --out out/wise --minutes 5 20         # and the tables of these budgets
    python -m benchmarks.wise.run --out out/scenes --images scenes      # Table 1 on simpler pictures, in less time

Goes on where it stopped: what has its result is not repeated, a training that was cut short resumes at its last
checkpoint. Writes table.md below --out.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pretrained import PRETRAINED, imagenet_file
from benchmarks.wise import budget
from benchmarks.wise.report import read_results, table
from benchmarks.wise.runs import Bench, run_once
from benchmarks.wise.scenes import write_scenes
from benchmarks.wise.windows import write_windows
from training.checkpoint import load_tensors
from wsperception.errors import InputError
from wsperception.learn.methods.wise import TAGS
from wsperception.learn.points.wise_masks import KINDS, PRM

FOLDER = Path(__file__).parent
SEED = 5200
"""Of the images that are learnt from; those that are scored take the next. Recipes were chosen on other images."""


@dataclass(frozen=True)
class Images:
    """What is learnt from and scored on.

    write    (folder, seed, count) -> number of images; `count` drives or scenes
    configs  the recipe with weights of ImageNet (True) and the one from scratch
    counts   for learning and for scoring
    """

    write: Callable[[Path, int, int], int]
    configs: Mapping[bool, Path]
    counts: tuple[int, int]


IMAGES: Mapping[str, Images] = {
    "drives": Images(write_windows, {True: FOLDER / "windows-mobile.yaml", False: FOLDER / "windows.yaml"}, (64, 20)),
    "scenes": Images(write_scenes, {False: FOLDER / "scenes.yaml"}, (240, 100)),
}


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    images = IMAGES[options.images]
    try:
        weights = None if options.pretrained is None else load_tensors(options.pretrained)
        imagenet = imagenet_file(weights, options.out) if True in images.configs else None
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    folders = {name: options.out / "images" / name for name in ("train", "val")}
    for number, (name, count) in enumerate(zip(folders, options.counts or images.counts, strict=True)):
        if not folders[name].exists():
            print(f"{folders[name]}: {images.write(folders[name], options.data_seed + number, count)} images")
    bench = Bench(options.out, folders["train"], folders["val"], imagenet)
    config = images.configs[imagenet is not None]
    for seed in options.seeds:
        result = options.out / "results" / f"wise-{seed}.json"
        run_once(bench, result, "wise", config, seed, tuple(options.set), KINDS)
    for seed in options.seeds if options.tags else ():
        result = options.out / "results" / f"prm-{seed}.json"
        run_once(bench, result, "wise", config, seed, (*options.set, f"method.places={TAGS}"), (PRM,))
    text = table(read_results(options.out / "results"))
    if options.minutes:
        seconds = budget.measured_seconds(options.labels) if options.labels else {}
        text += "\n" + budget.table(bench, options.minutes, options.seeds, seconds, config, tuple(options.set))
    (options.out / "table.md").write_text(text)
    print(text)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tags", action="store_true", help="also the row that is learnt from tags, in runs of its own")
    parser.add_argument("--minutes", type=float, nargs="*", default=[], help="budgets of labelling")
    parser.add_argument("--labels", type=Path, help="folder of `wsperception label` whose labelling times are taken")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change the recipe")
    parser.add_argument(
        "--pretrained", type=Path, default=PRETRAINED, metavar="FILE",
        help="MobileNetV2's ImageNet weights for images (p - 128) / 128, with torchvision's names (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--images", choices=tuple(IMAGES), default="drives")
    parser.add_argument(
        "--counts", type=int, nargs=2, metavar=("TRAIN", "VAL"), help="drives or scenes to learn from and to score on"
    )
    parser.add_argument("--data-seed", type=int, default=SEED, help="of the images; another one to choose a recipe on")
    options = parser.parse_args(arguments)
    if options.minutes and options.images != "drives":
        parser.error("--minutes: expected --images drives")
    return options


if __name__ == "__main__":
    main()
