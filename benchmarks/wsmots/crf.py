"""The fast product of the CRF loss against the exact one: error of W S at 32, 64 and 128 pixels, and time at 128.

python -m benchmarks.wsmots.crf [--device cuda] [--rounds 5] [--data ../shared/data]

Errors are |fast - exact| / |exact| of W S for each crop and mask. Crops: cars and pedestrians of synthetic drives, with
their true masks; where sample data is present, real street scenes and a real car with its mask; on each crop a random
mask of soft blobs besides. Times are of the two products that the loss needs, W S and W 1, of one crop: exact and fast
take turns, each round gives a ratio. On the CPU they are processor time of one thread, which other processes on the
machine lengthen less than time on the wall.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.learn.crf.bilateral_grid import exact_product, grid_product
from wsperception.learn.crf.loss import CrfSettings

CONTEXT = 1.4
"""Side of a crop over side of the box."""
Pictures = dict[str, list[tuple[np.ndarray, np.ndarray]]]
"""Image (H, W, 3) uint8 and mask (H, W) bool of crops, by where they come from."""


def synthetic(scene: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Crops of the objects of a drive of the size of KITTI, the largest ones of its last frame."""
    settings = DriveSettings(seed=11, frames=6, height=375, width=1242, scene=scene)
    *_, frame = Drive(settings).frames()
    order = np.argsort(-(frame.boxes[:, 2:] - frame.boxes[:, :2]).prod(axis=1))[:count]
    return [cropped(frame.image, frame.object_ids == frame.ids[row], frame.boxes[row]) for row in order]


def cropped(image: np.ndarray, mask: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What lies within CONTEXT times the box, inside the image."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * CONTEXT / 2
    x0, y0 = np.maximum(centre - half, 0).astype(int)
    x1, y1 = np.ceil(np.minimum(centre + half, image.shape[1::-1])).astype(int)
    return image[y0:y1, x0:x1], mask[y0:y1, x0:x1]


def real(data: Path) -> Pictures:
    """Crops of sample data; those of the street have no masks."""
    found: Pictures = {}
    streets = sorted((data / "kitti_raw_sfnd/image_02").rglob("*.png"))[::18]
    boxes = np.array([[120, 120, 300, 260], [560, 150, 700, 250], [900, 80, 1200, 340]])
    parts = [cropped(read(path), np.zeros((375, 1242), bool), box) for path in streets for box in boxes]
    if parts:
        found["real street"] = parts
    masks = sorted((data / "davis_car_shadow").rglob("Annotations/**/*.png"))[::12]
    for path in masks:
        mask = np.asarray(read(path).max(axis=2) > 0)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        (picture,) = (data / "davis_car_shadow").rglob(f"JPEGImages/**/{path.stem}.jpg")
        found.setdefault("real car", []).append(cropped(read(picture), mask, box))
    return found


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None, path
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def batch(crops: list[tuple[np.ndarray, np.ndarray]], side: int, device: str) -> tuple[Tensor, Tensor]:
    """Maps (R, 2, side, side), the mask and random blobs; and images (R, 3, side, side)."""
    images = np.stack([resized(image, side) for image, _ in crops])
    masks = np.stack([resized(mask, side) for _, mask in crops])
    blobs = torch.rand((len(crops), 1, 7, 7), generator=torch.Generator().manual_seed(side))
    blobs = functional.interpolate((blobs - 0.5) * 12, size=(side, side), mode="bicubic").sigmoid()
    maps = torch.cat([torch.from_numpy(masks)[:, None], blobs], dim=1)
    return maps.to(device), torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)


def resized(picture: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(cv2.resize(picture.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA))


def errors(crops: list[tuple[np.ndarray, np.ndarray]], side: int, device: str) -> list[float]:
    """Of each map that is not empty."""
    maps, images = batch(crops, side, device)
    sigma_rgb, sigma_xy = CrfSettings().sigma_rgb, CrfSettings().sigma_xy * side / 128
    exact = exact_product(maps, images, sigma_rgb, sigma_xy).flatten(2)
    fast = grid_product(maps, images, sigma_rgb, sigma_xy).flatten(2)
    sizes = exact.norm(dim=2)
    shares: list[float] = ((fast - exact).norm(dim=2) / sizes)[sizes > 0].tolist()
    return shares


def seconds(work: Callable[[], Tensor], device: str) -> float:
    if device == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def report_times(crops: list[tuple[np.ndarray, np.ndarray]], count: int, rounds: int, device: str) -> None:
    maps, images = batch((crops * count)[:count], 128, device)
    maps[:, 1] = 1.0
    sigmas = CrfSettings().sigma_rgb, CrfSettings().sigma_xy
    grid_product(maps, images, *sigmas)
    exact, fast = [], []
    for _ in range(rounds):
        exact.append(seconds(lambda: exact_product(maps, images, *sigmas), device) / count)
        fast.append(seconds(lambda: grid_product(maps, images, *sigmas), device) / count)
    ratios = [slow / quick for slow, quick in zip(exact, fast, strict=True)]
    print(
        f"128 x 128, {count} crops at once, ms per crop, medians of {rounds} rounds: exact "
        f"{1000 * statistics.median(exact):.1f}, fast {1000 * statistics.median(fast):.2f}; "
        f"ratio {statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 128])
    options = parser.parse_args()
    torch.set_num_threads(1)
    pictures: Pictures = {"synthetic traffic": synthetic("any", 4), "synthetic crowd": synthetic("crowd", 4)}
    pictures |= real(options.data)
    for count in (1,) if options.device == "cpu" else (1, 32):
        report_times(pictures["synthetic traffic"], count, options.rounds, options.device)
    for side in options.sides:
        for name, crops in pictures.items():
            found = errors(crops, side, options.device)
            print(
                f"{side:3} {name:18} {len(found):3} maps: error {100 * statistics.mean(found):.2f} % on average, "
                f"{100 * max(found):.2f} % at most",
                flush=True,
            )


if __name__ == "__main__":
    main()
