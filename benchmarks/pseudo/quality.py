"""How good are pseudo masks from boxes? Mean IoU with the true masks, rejected boxes, void; and a picture of some.

python benchmarks/pseudo/quality.py --data DRIVE --frames 20 --picture pseudo.png
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.pseudo.objects import HEIGHTS, even_frames, group, true_masks
from wsperception import rle
from wsperception.geometry import pixel_range
from wsperception.learn.pseudo.masks import PseudoSettings, frame_pseudo_masks

TILE = (150, 120)
"""Width and height of an object in the picture."""


def measure(root: Path, count: int, settings: PseudoSettings) -> tuple[np.ndarray, list[np.ndarray], float]:
    """(N, 6) class, height, rejected, IoU outside the void, void over box, IoU of the filled box; tiles; s per box.

    IoU is NaN where a mask was rejected, and counts the pixels that are not void.
    """
    rows, tiles, seconds = [], [], 0.0
    for frame in even_frames(root, count):
        image = cv2.imread(str(frame.path), cv2.IMREAD_COLOR_RGB)
        assert image is not None
        start = time.process_time()
        masks = frame_pseudo_masks(image, frame.boxes, frame.class_ids, settings)
        seconds += time.process_time() - start
        void = rle.decode(masks.ignored[0], masks.size)
        found = zip(frame.class_ids, frame.boxes, masks.objects, true_masks(frame), strict=True)
        for class_id, box, counts, truth in found:
            made, inside = rle.decode(counts, masks.size), np.zeros(truth.shape, bool)
            x0, y0, x1, y1 = box.tolist()
            columns, lines = pixel_range(x0, x1, truth.shape[1]), pixel_range(y0, y1, truth.shape[0])
            inside[slice(*lines), slice(*columns)] = True
            overlap = _iou(made, truth & ~void) if made.any() else np.nan
            share = (void & inside).sum() / inside.sum()
            rows.append((class_id, box[3] - box[1], not made.any(), overlap, share, _iou(inside, truth)))
            if box[3] - box[1] >= 30:
                tiles.append(tile(image, box, made, void & inside, truth))
    return np.array(rows, float).reshape(-1, 6), tiles, seconds / max(len(rows), 1)


def tile(image: np.ndarray, box: np.ndarray, made: np.ndarray, void: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """One object, its true mask above and its pseudo mask below: red foreground, blue void."""
    reach = (box[2:] - box[:2]) / 4
    x0, x1 = pixel_range(float(box[0] - reach[0]), float(box[2] + reach[0]), image.shape[1])
    y0, y1 = pixel_range(float(box[1] - reach[1]), float(box[3] + reach[1]), image.shape[0])
    halves = []
    for foreground, undecided in ((truth, np.zeros_like(truth)), (made, void)):
        part = image[y0:y1, x0:x1].astype(np.float32)
        part[foreground[y0:y1, x0:x1]] = 0.5 * part[foreground[y0:y1, x0:x1]] + (127, 0, 0)
        part[undecided[y0:y1, x0:x1]] = 0.5 * part[undecided[y0:y1, x0:x1]] + (0, 0, 127)
        halves.append(cv2.resize(part.astype(np.uint8), TILE, interpolation=cv2.INTER_AREA))
    return cv2.copyMakeBorder(np.concatenate(halves), 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def sheet(tiles: list[np.ndarray], columns: int = 10, most: int = 40) -> np.ndarray:
    """Tiles side by side, evenly chosen."""
    chosen = [tiles[round(place)] for place in np.linspace(0, len(tiles) - 1, min(most, len(tiles)))]
    chosen += [np.zeros_like(chosen[0])] * (-len(chosen) % columns)
    return np.concatenate([np.concatenate(chosen[row : row + columns], 1) for row in range(0, len(chosen), columns)])


def report(rows: np.ndarray) -> str:
    """The table."""
    lines = [f"{'':24}{'objects':>8}{'rejected':>9}{'IoU':>8}{'void':>8}{'IoU of the box':>16}"]
    for name, chosen in group(rows[:, 0], rows[:, 1], HEIGHTS):
        part = rows[chosen]
        kept = part[part[:, 2] == 0]
        overlap = f"{kept[:, 3].mean():8.3f}" if len(kept) else f"{'':>8}"
        void = f"{kept[:, 4].mean():8.2f}" if len(kept) else f"{'':>8}"
        lines.append(f"{name:24}{len(part):>8}{part[:, 2].mean():>9.2f}{overlap}{void}{part[:, 5].mean():>16.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a drive, or KITTI MOTS")
    parser.add_argument("--frames", type=int, default=20, help="frames, evenly over the sequences")
    parser.add_argument("--core", type=float, nargs="+", default=[PseudoSettings().core, 0.0])
    parser.add_argument("--picture", type=Path, help="write a sheet of objects here, for the first value of --core")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    for row, core in enumerate(options.core):
        rows, tiles, seconds = measure(options.data, options.frames, PseudoSettings(core=core))
        print(f"\ncore {core}: {1e3 * seconds:.0f} ms per box\n{report(rows)}")
        if options.picture and row == 0 and tiles:
            cv2.imwrite(str(options.picture), sheet(tiles)[..., ::-1])


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else np.nan


if __name__ == "__main__":
    main()
