"""How right the labels are that masks are learnt from: Grad-CAM of a trained detector, and pseudo masks of boxes.

    python -m benchmarks.wsmots.labels --out out/wsmots

Over the training drive of a comparison that `benchmarks.wsmots.run` has begun, and the detector of one of its seeds.
For this alone masks are read beside the weak labels.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.wsmots.mask_training import MasksOnly, Windows
from benchmarks.wsmots.rows import CLASSES
from training.checkpoint import load_tensors
from training.loop import MicroBatch
from training.recipe import Recipe, read_recipe
from wsperception import rle
from wsperception.data.labelled_frames import FrameMasks, read_labelled_frames
from wsperception.learn.cam import VARIANTS, heat_of_boxes
from wsperception.learn.detection import mask_targets
from wsperception.learn.pseudo.cache import with_pseudo_masks
from wsperception.learn.pseudo.masks import PseudoSettings

Counts = defaultdict[tuple[str, int], np.ndarray]
"""(what is hot, class) -> cells that are hot and object, hot, object, all."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the comparison")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, default=40, help="training batches on which Grad-CAM is looked at")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    try:
        config = Path(json.loads((options.out / "settings.json").read_bytes())["config"])
    except (OSError, ValueError, KeyError):
        print(f"{options.out}: expected the folder of a comparison, with its settings.json", file=sys.stderr)
        raise SystemExit(2) from None
    recipe = read_recipe("wsmots", config, ["training.supervision=full", f"training.seed={options.seed}"])
    drive, cache = options.out / "drives/train", options.out / "cache"
    print("| label | class | object's share of the box | labelled object | of it right |\n|---|---|---|---|---|")
    windows = Windows(drive, recipe, options.batches, cache, options.jobs)
    detector = options.out / f"runs/detector-{options.seed}/weights.pt"
    for (name, class_id), (right, hot, own, cells) in _cam_counts(recipe, windows, detector).items():
        shares = " | ".join(_share(*pair) for pair in ((own, cells), (hot, cells), (right, hot)))
        print(f"| Grad-CAM, {name} | {CLASSES[class_id]} | {shares} |")
    print("\n| pseudo masks of | boxes | rejected | mean IoU of the others | of their filled boxes |")
    print("|---|---|---|---|---|")
    for class_id, overlaps in _pseudo_overlaps(recipe, drive, cache, options.jobs).items():
        kept = overlaps[overlaps[:, 0] > 0]
        means = " | ".join(f"{value:.3f}" for value in kept.mean(axis=0)) if len(kept) else "- | -"
        print(f"| {CLASSES[class_id]} | {len(overlaps)} | {len(overlaps) - len(kept)} | {means} |")


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _cam_counts(recipe: Recipe, windows: Windows, detector: Path) -> Counts:
    """Of the cells of the true boxes of all windows."""
    model = MasksOnly(recipe.method, len(recipe.labels), "full", {})
    model.net.load_state_dict(load_tensors(detector))
    counts: Counts = defaultdict(lambda: np.zeros(4))
    for batch in windows.batches:
        boxes, classes, truth = _true_boxes(batch)
        frame_of = torch.cat([torch.full((len(part.boxes),), row) for row, part in enumerate(batch.frames)])
        with torch.no_grad():
            pyramid = model.net.pyramid(torch.stack([torch.from_numpy(frame.image) for frame in batch.frames]))
            features = model.net.pool(pyramid, boxes, frame_of)
        for variant in VARIANTS:
            heat = heat_of_boxes(model.net.box, features, classes, variant, recipe.method.weak.cam_scale)
            hot = heat >= recipe.method.weak.cam_threshold
            for class_id in range(len(recipe.labels)):
                chosen = classes == class_id
                cells = (hot & truth)[chosen], hot[chosen], truth[chosen], torch.ones_like(hot)[chosen]
                counts[variant, class_id] += [part.sum().item() for part in cells]
    return counts


def _true_boxes(batch: MicroBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4), classes (N,) and masks (N, M, M) bool, seen through their boxes, of all frames."""
    boxes = [torch.from_numpy(frame.boxes) for frame in batch.frames]
    classes = [torch.from_numpy(frame.class_ids) for frame in batch.frames]
    masks = []
    for frame, part in zip(batch.frames, boxes, strict=True):
        assert frame.masks is not None
        masks.append(mask_targets(torch.from_numpy(frame.masks), torch.arange(len(part)), part) > 0)
    return torch.cat(boxes), torch.cat(classes), torch.cat(masks)


def _pseudo_overlaps(recipe: Recipe, drive: Path, cache: Path, jobs: int) -> dict[int, np.ndarray]:
    """Per class (N, 2): the IoU of each pseudo mask with the truth, 0 for one that was rejected, and of its box."""
    weak = read_labelled_frames((drive,), "all", recipe.labels, "weak")
    weak = with_pseudo_masks(weak, PseudoSettings(), cache / "pseudo", jobs)
    found: dict[int, list[tuple[float, float]]] = {class_id: [] for class_id in range(len(recipe.labels))}
    for truth, frame in zip(read_labelled_frames((drive,), "all", recipe.labels, "full"), weak, strict=True):
        row_of = {key: row for row, key in enumerate(frame.track_keys.tolist())}
        for row, (key, class_id) in enumerate(zip(truth.track_keys.tolist(), truth.class_ids.tolist(), strict=True)):
            assert truth.masks is not None
            assert frame.masks is not None
            own, pseudo = _mask(truth.masks, row), _mask(frame.masks, row_of[key])
            x0, y0, x1, y1 = truth.boxes[row].tolist()
            overlap = np.count_nonzero(own & pseudo) / np.count_nonzero(own | pseudo)
            found[class_id].append((overlap, np.count_nonzero(own) / ((x1 - x0) * (y1 - y0))))
    return {class_id: np.array(overlaps).reshape(-1, 2) for class_id, overlaps in found.items()}


def _mask(masks: FrameMasks, row: int) -> np.ndarray:
    return rle.decode(masks.objects[row], masks.size)


if __name__ == "__main__":
    main()
