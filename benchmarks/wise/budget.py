"""How many minutes of labelling buy which quality of masks (the protocol of WISE section 4.3.2, on drives).

A budget buys images: as many as can be labelled in it with tags, points, boxes or masks. Each kind of label trains the
method that is made for it on that many windows of the same drives, and the masks are scored on other drives.
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.wise.report import line
from benchmarks.wise.runs import ROOT, Bench, run_once
from benchmarks.wsmots.report import spread
from wsperception.data.kitti import list_sequences
from wsperception.data.label_file import read_label_file
from wsperception.data.labelled_frames import read_labelled_frames
from wsperception.errors import InputError
from wsperception.learn.methods.wise import TAGS
from wsperception.learn.points.wise_masks import PRM, WISE
from wsperception.types import LabelSpace

LABELS = LabelSpace(("car", "pedestrian"), (True, True))
SECONDS = {"tags": 20.0, "points": 22.1, "masks": 239.7}
"""Of labelling an image: Bearman et al. as WISE cites them."""
DETECTIONS = "detections"
"""What training/score.py calls the masks of wsmots."""
SECONDS_PER_BOX = 10.2
"""Of drawing one box: the same source (WISE section 4.6)."""
BOXES = {True: ROOT / "benchmarks/wise/boxes-mobile.yaml", False: ROOT / "benchmarks/wise/boxes.yaml"}
"""How wsmots learns, from boxes and from masks: with weights of ImageNet, and from scratch."""


@dataclass(frozen=True)
class Kind:
    """One kind of label and what learns from it.

    scored   which of the run's masks count, as training/score.py names them
    changes  of the recipe
    whole    the run of Table 1 that learns from such labels of all images
    """

    title: str
    method: str
    scored: str
    changes: tuple[str, ...] = ()
    whole: str = ""


KINDS: Mapping[str, Kind] = {
    "tags": Kind("tags (PRM + E-Net)", "wise", PRM, (f"method.places={TAGS}",), "prm"),
    "points": Kind("points (WISE)", "wise", WISE, whole="wise"),
    "boxes": Kind("boxes (WSMOTS without L_T)", "wsmots", DETECTIONS, ("method.track_weight=0",)),
    "boxes and ids": Kind("boxes and ids (WSMOTS)", "wsmots", DETECTIONS),
    "masks": Kind("masks (WSMOTS, full)", "wsmots", DETECTIONS, ("training.supervision=full",)),
}


def affordable(minutes: float, seconds_per_image: float) -> int:
    """Images that can be labelled in a budget, to the nearest one."""
    return round(60.0 * minutes / seconds_per_image)


def seconds_per_image(train: Path, measured: Mapping[str, float]) -> dict[str, float]:
    """Kind -> seconds: what was measured, otherwise the literature's; ids cost nothing where nobody measured them."""
    frames = read_labelled_frames((train,), "all", LABELS, "points")
    boxes = SECONDS_PER_BOX * sum(frame.objects for frame in frames) / max(len(frames), 1)
    found = {**SECONDS, "boxes": boxes, **measured}
    return found | {"boxes and ids": found["boxes"] + measured.get("ids", 0.0)}


def measured_seconds(folder: Path) -> dict[str, float]:
    """Activity -> mean seconds per frame on which it was done, from the times that `wsperception label` recorded."""
    times: dict[str, list[float]] = {}
    for frame in read_label_file(folder).frames:
        for activity, seconds in frame.seconds.items():
            if activity in (*KINDS, "ids") and seconds > 0:
                times.setdefault(activity, []).append(seconds)
    if not times:
        raise InputError(f"{folder}: no labelling time is recorded; expected some for points, boxes or tags")
    return {activity: sum(values) / len(values) for activity, values in times.items()}


def drawn_sequences(train: Path, images: int, seed: int) -> list[str]:
    """Names of sequences, drawn without replacement, that hold about `images` images; at least one, at most all."""
    sequences = list_sequences(train)
    random.Random(seed).shuffle(sequences)
    chosen: list[str] = []
    total = 0
    for sequence in sequences:
        if chosen and total + len(sequence.images) / 2 > images:
            break
        chosen.append(sequence.name)
        total += len(sequence.images)
    return sorted(chosen)


def table(
    bench: Bench,
    minutes: Sequence[float],
    seeds: Sequence[int],
    measured: Mapping[str, float],
    config: Path,
    changes: tuple[str, ...],
) -> str:
    """Markdown; trains and scores what is not there yet."""
    costs = seconds_per_image(bench.train, measured)
    there = sum(len(sequence.images) for sequence in list_sequences(bench.train))
    lines = [
        "AP50 (VOC's convention, per cent) of what a budget of labelling buys, mean ± standard deviation over seeds.",
        "",
        line(["labels", "s per image", *(f"{budget:g} min" for budget in minutes)]),
        "|" + "---|" * (len(minutes) + 2),
    ]
    for name, kind in KINDS.items():
        cells = []
        for budget in minutes:
            images = affordable(budget, costs[name])
            values = [_score(bench, kind, name, images, seed, config, changes) for seed in seeds]
            more = " (all there are)" if images > there else ""
            cells.append(f"{spread(values)} with {min(images, there)} images{more}")
        lines.append(line([kind.title, f"{costs[name]:.1f}", *cells]))
    return "\n".join([*lines, ""])


def _score(
    bench: Bench, kind: Kind, name: str, images: int, seed: int, config: Path, changes: tuple[str, ...]
) -> float:
    names = drawn_sequences(bench.train, images, seed)
    # Named by what is learnt from: budgets that buy the same images share a run, and with all of them that of Table 1.
    run = f"{name.replace(' ', '-')}-{len(names)}-sequences"
    if kind.whole and len(names) == len(list_sequences(bench.train)):
        run = kind.whole
    result = bench.out / "results" / f"{run}-{seed}.json"
    recipe, own = (config, changes) if kind.method == "wise" else (BOXES[bench.imagenet is not None], ())
    split = f"data.split='{','.join(names)}'"
    run_once(bench, result, kind.method, recipe, seed, (*kind.changes, *own, split), (kind.scored,))
    value = json.loads(result.read_text())["kinds"][kind.scored]["VOC AP50"]
    return math.nan if value is None else float(value)
