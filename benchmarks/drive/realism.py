"""Do drives have the statistics of KITTI MOTS? Compares two folders in its layout; writes a table and a plot.

    wsperception drive --out DRIVE --seed 9000 --sequences 36 --frames 100 --no-bag
    python benchmarks/drive/realism.py --real KITTI_MOTS --real-boxes KITTI_TRACKING/label_02 --drive DRIVE --out OUT

Writes OUT/realism.md (quantiles, Kolmogorov-Smirnov and Wasserstein distances) and OUT/realism.png (distributions).
"""

import argparse
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsperception.data.mots import find_sequences, read_mots
from wsperception.rle import run_lengths

CLASSES = {1: "car", 2: "pedestrian"}
QUANTILES = (5, 25, 50, 75, 95)
MEASURES = {
    "height": "mask height, pixels",
    "count": "objects per frame",
    "fill": "mask area / area of its tight box",
    "visible": "tight box of the mask / full box",
    "track": "track length, frames",
}


@dataclass(frozen=True)
class Mask:
    """One annotated mask: where it is, and its tight box x0 y0 x1 y1."""

    sequence: str
    frame: int
    track: int
    class_number: int
    area: int
    box: tuple[int, int, int, int]


def tight_box(counts: bytes, height: int) -> tuple[tuple[int, int, int, int], int]:
    """Box x0 y0 x1 y1 and area of compressed run lengths, without making the mask."""
    runs = run_lengths(counts)
    ends = np.cumsum(runs)
    starts, stops = ends[:-1:2], ends[1::2]
    kept = stops > starts
    starts, stops = starts[kept], stops[kept]
    columns = starts // height, (stops - 1) // height
    # A run that goes on into the next column touches the bottom and the top.
    wraps = bool((columns[0] != columns[1]).any())
    top = 0 if wraps else int((starts % height).min())
    bottom = height if wraps else int(((stops - 1) % height).max()) + 1
    return (int(columns[0].min()), top, int(columns[1].max()) + 1, bottom), int((stops - starts).sum())


def read_masks(root: Path) -> tuple[list[Mask], dict[str, int]]:
    """Every mask of a folder of MOTS texts, and the number of frames of each sequence."""
    masks, lengths = [], {}
    for name, path in find_sequences(root).items():
        sequence = read_mots(path)
        lengths[name] = sequence.last_frame + 1
        for entry in sequence.objects:
            box, area = tight_box(entry.counts, entry.size[0])
            masks.append(Mask(name, entry.frame, entry.track_id, entry.class_id, area, box))
    return masks, lengths


def read_full_boxes(folder: Path) -> dict[tuple[str, int, int], np.ndarray]:
    """(sequence, frame, track) -> full box x0 y0 x1 y1 and occlusion (0 none, 1 partly, 2 largely, 3 unknown)."""
    boxes = {}
    for path in sorted(folder.glob("*.txt")):
        for line in path.read_text().splitlines():
            fields = line.split()
            if fields[1] != "-1":
                boxes[(path.stem, int(fields[0]), int(fields[1]))] = np.array([*fields[6:10], fields[4]], float)
    return boxes


def samples(
    masks: list[Mask],
    lengths: dict[str, int],
    boxes: dict[tuple[str, int, int], np.ndarray],
    class_number: int,
    window: int,
) -> dict[str, np.ndarray]:
    """The samples of every measure for one class. Tracks are cut every `window` frames."""
    own = [mask for mask in masks if mask.class_number == class_number]
    per_frame = Counter((mask.sequence, mask.frame) for mask in own)
    tracks = Counter((mask.sequence, mask.frame // window, mask.track) for mask in own)
    visible = []
    for mask in own:
        full = boxes.get((mask.sequence, mask.frame, mask.track % 1000))
        if full is not None:
            visible.append(_area(np.array(mask.box, float)) / max(_area(full), 1.0))
    return {
        "height": np.array([mask.box[3] - mask.box[1] for mask in own], float),
        "count": np.array([per_frame[name, frame] for name, n in lengths.items() for frame in range(n)], float),
        "fill": np.array([mask.area / _area(np.array(mask.box, float)) for mask in own]),
        "visible": np.clip(np.array(visible), 0, 1),
        "track": np.array(list(tracks.values()), float),
    }


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference of the two distribution functions, 0 to 1."""
    places = np.concatenate([first, second])
    return float(np.abs(_share_below(first, places) - _share_below(second, places)).max())


def wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    """Area between the two distribution functions, in the measure's unit."""
    places = np.sort(np.concatenate([first, second]))
    gaps = np.abs(_share_below(first, places[:-1]) - _share_below(second, places[:-1]))
    return float((gaps * np.diff(places)).sum())


def _share_below(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(values), places, side="right") / len(values)


def table(real: dict[int, dict[str, np.ndarray]], drive: dict[int, dict[str, np.ndarray]]) -> str:
    """Markdown: quantiles of both, and their distances."""
    heads = " | ".join(f"{quantile} %" for quantile in QUANTILES)
    lines = [
        f"| class | measure | of | samples | mean | {heads} | KS | Wasserstein |",
        "|---" * (7 + len(QUANTILES)) + "|",
    ]
    for number, name in CLASSES.items():
        for measure, text in MEASURES.items():
            pair = (real[number][measure], drive[number][measure])
            distances = f"{kolmogorov_smirnov(*pair):.2f} | {wasserstein(*pair):.2f}"
            for side, values, shown in (("KITTI MOTS", pair[0], " | "), ("drives", pair[1], distances)):
                cells = " | ".join(f"{value:.4g}" for value in np.percentile(values, QUANTILES))
                lines.append(f"| {name} | {text} | {side} | {len(values)} | {values.mean():.4g} | {cells} | {shown} |")
    for number, name in CLASSES.items():
        shares = [float((side[number]["count"] == 0).mean()) for side in (real, drive)]
        lines.append(f"\nFrames without a {name}: KITTI MOTS {shares[0]:.0%}, drives {shares[1]:.0%}.")
    return "\n".join(lines) + "\n"


def occlusions(masks: list[Mask], boxes: dict[tuple[str, int, int], np.ndarray], class_number: int) -> str:
    """Shares of the masks that KITTI's label calls visible, partly and largely occluded."""
    keys = [(mask.sequence, mask.frame, mask.track % 1000) for mask in masks if mask.class_number == class_number]
    levels = np.array([boxes[key][4] for key in keys if key in boxes])
    levels = levels[levels <= 2]
    return ", ".join(f"{(levels == level).mean():.0%}" for level in range(3))


def ignore_shares(masks: list[Mask], lengths: dict[str, int]) -> tuple[float, float]:
    """Share of frames with an ignore region, and the median of its area in pixels where there is one."""
    areas: defaultdict[tuple[str, int], int] = defaultdict(int)
    for mask in masks:
        if mask.class_number == 10:
            areas[mask.sequence, mask.frame] += mask.area
    return len(areas) / sum(lengths.values()), float(np.median(list(areas.values())))


def plot(real: dict[int, dict[str, np.ndarray]], drive: dict[int, dict[str, np.ndarray]], path: Path) -> None:
    """One panel per class and measure with both distribution functions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(CLASSES), len(MEASURES), figsize=(18, 6.4), squeeze=False)
    for row, (number, name) in enumerate(CLASSES.items()):
        for column, (measure, text) in enumerate(MEASURES.items()):
            panel = panels[row][column]
            for side, values, style in (("KITTI MOTS", real, "k-"), ("drives", drive, "C1-")):
                ordered = np.sort(values[number][measure])
                panel.plot(ordered, np.arange(1, len(ordered) + 1) / len(ordered), style, label=side, linewidth=1.5)
            distance = kolmogorov_smirnov(real[number][measure], drive[number][measure])
            panel.set_title(f"{name}: KS {distance:.2f}", fontsize=10)
            panel.set_xlabel(text, fontsize=9)
            panel.set_ylim(0, 1.01)
            panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("share of samples")
    panels[0][0].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="KITTI MOTS texts")
    parser.add_argument("--real-boxes", type=Path, required=True, help="label_02 of the same sequences")
    parser.add_argument("--drive", type=Path, required=True, help="output of `wsperception drive`")
    parser.add_argument("--window", type=int, default=100, help="frames of a drive; real sequences are cut to it")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sides = []
    summary = []
    for name, root, label_folder in (
        ("KITTI MOTS", options.real, options.real_boxes),
        ("drives", options.drive, options.drive / "training" / "label_02"),
    ):
        masks, lengths = read_masks(root)
        boxes = read_full_boxes(label_folder)
        sides.append({number: samples(masks, lengths, boxes, number, options.window) for number in CLASSES})
        share, area = ignore_shares(masks, lengths)
        summary.append(
            f"{name}: {len(lengths)} sequences, {sum(lengths.values())} frames; "
            f"{share:.0%} of them with an ignore region, of {area:.0f} pixels in the median. "
            f"Visible, partly and largely occluded: cars {occlusions(masks, boxes, 1)}; "
            f"pedestrians {occlusions(masks, boxes, 2)}.\n"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    text = "\n".join(summary) + "\n" + table(sides[0], sides[1])
    (options.out / "realism.md").write_text(text)
    plot(sides[0], sides[1], options.out / "realism.png")
    print(text)


if __name__ == "__main__":
    main()
