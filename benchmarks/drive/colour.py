"""How far does colour alone get on drives? A histogram classifier across drives, and GrabCut from the true box.

python benchmarks/drive/colour.py --drives 40
"""

import argparse

import cv2
import numpy as np

from wsperception.data.drive.canvas import SEMANTICS
from wsperception.data.drive.sequence import IGNORE_ID, Drive, DriveFrame
from wsperception.data.drive.settings import DriveSettings

BINS = 16


def frames_of(seeds: range) -> list[DriveFrame]:
    """Two frames, two seconds apart, of each drive."""
    return [frame for seed in seeds for frame in Drive(DriveSettings(seed=seed, frames=2, rate_hz=0.5)).frames()]


def histograms(frames: list[DriveFrame]) -> tuple[np.ndarray, np.ndarray]:
    """Colour histograms (BINS ** 3,) of objects and of background without sky; every frame weighs the same."""
    objects, background, count = np.zeros(BINS**3), np.zeros(BINS**3), 0
    for frame in frames:
        thing = (frame.object_ids > 0) & (frame.object_ids != IGNORE_ID)
        stuff = (frame.object_ids == 0) & (frame.semantic != SEMANTICS.index("sky"))
        if thing.sum() < 1000:
            continue
        colour = frame.image.astype(np.int64) * BINS // 256
        index = (colour[..., 0] * BINS + colour[..., 1]) * BINS + colour[..., 2]
        objects += np.bincount(index[thing], minlength=BINS**3) / thing.sum()
        background += np.bincount(index[stuff], minlength=BINS**3) / stuff.sum()
        count += 1
    return objects / count, background / count


def grabcut_overlaps(frames: list[DriveFrame], smallest: int) -> np.ndarray:
    """(N, 3): class, IoU of GrabCut's mask and of the box itself with the true mask; tight boxes `smallest` high."""
    results = []
    for frame in frames:
        for number in frame.ids.tolist():
            truth = frame.object_ids == number
            rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
            x0, y0, x1, y1 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
            if y1 - y0 < smallest or x1 - x0 < 8:
                continue
            left, top = max(0, x0 - (x1 - x0) // 2), max(0, y0 - (y1 - y0) // 2)
            crop = np.s_[top : y1 + (y1 - y0) // 2, left : x1 + (x1 - x0) // 2]
            box = np.zeros(truth.shape, np.uint8)
            box[y0:y1, x0:x1] = 1
            # GrabCut's time grows with the area; 160 pixels tell as much as 800.
            shrink = min(1.0, 160.0 / max(truth[crop].shape))
            image = cv2.resize(frame.image[crop], None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            size = image.shape[1::-1]
            inside = cv2.resize(truth[crop].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
            mask = np.where(cv2.resize(box[crop], size, interpolation=cv2.INTER_NEAREST) > 0, cv2.GC_PR_FGD, cv2.GC_BGD)
            mask = mask.astype(np.uint8)
            whole = mask == cv2.GC_PR_FGD
            if (~whole).sum() < 50 or inside.sum() < 20:
                continue
            cv2.grabCut(image, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
            found = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
            results.append((number // 1000, _iou(found, inside), _iou(whole, inside)))
    return np.array(results)


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=int, default=40, help="drives to learn from; half as many to test on")
    options = parser.parse_args()
    learned = histograms(frames_of(range(20000, 20000 + options.drives)))
    others = frames_of(range(30000, 30000 + options.drives // 2))
    objects, background = histograms(others)
    says_object = learned[0] > learned[1]
    accuracy = 0.5 * (objects[says_object].sum() + background[~says_object].sum())
    print(f"histogram intersection of objects and background: {np.minimum(*learned).sum():.2f}")
    print(f"balanced accuracy of the best colour classifier on other drives: {accuracy:.3f} (chance 0.5)")
    cv2.setRNGSeed(0)
    overlaps = grabcut_overlaps(others, 40)
    for number, name in ((1, "car"), (2, "pedestrian")):
        own = overlaps[overlaps[:, 0] == number]
        print(
            f"GrabCut from the true box, {name}: mean IoU {own[:, 1].mean():.2f}, the box itself {own[:, 2].mean():.2f}"
        )
        print(f"  share with IoU of at least 0.5: {(own[:, 1] >= 0.5).mean():.2f}, objects: {len(own)}")


if __name__ == "__main__":
    main()
