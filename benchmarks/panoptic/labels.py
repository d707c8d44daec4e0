"""Panoptic labels of one Cityscapes image: seconds from boxes and tags, and agreement with those of LAT's authors.

python benchmarks/panoptic/labels.py --ids NAME_gtFine_instanceIds.png --image NAME_leftImg8bit.png [--peer LABELS.png]

Run from the repository root. The classifier of tags has random weights: it is timed, its cues are not judged.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from wsperception.data.cityscapes import LABEL_SPACE, read_instance_ids
from wsperception.data.sources.image_file import read_image
from wsperception.data.voc import read_palette_image
from wsperception.errors import InputError
from wsperception.geometry import box_areas, tight_boxes
from wsperception.learn.panoptic.cleaning import BACKGROUND, IGNORE, fixed_crops
from wsperception.learn.panoptic.labels import CueSettings, PseudoPanoptic, agreed_labels, first_labels
from wsperception.learn.panoptic.tag_cues import tag_cues
from wsperception.learn.pseudo.masks import PseudoSettings
from wsperception.nets.semantic_net import SemanticSettings, TagNet

BOXES = 20
THINGS = np.flatnonzero(LABEL_SPACE.is_thing)


def scores(labels: np.ndarray, truth: np.ndarray) -> str:
    """How much of the things of a label map is right, how many are found, and what is left open."""
    said, true = np.isin(labels, THINGS), np.isin(truth, THINGS)
    known = truth != IGNORE
    right = (said & (labels == truth)).sum()
    open_ = (labels == IGNORE).sum()
    return (
        f"{100 * right / max((said & known).sum(), 1):.1f} % of {said.sum()} px right, "
        f"{100 * right / true.sum():.1f} % of the true things' pixels found, {open_} px ignored"
    )


def compare(ours: np.ndarray, peer: np.ndarray) -> None:
    """IoU of the things of two label maps, over the pixels that neither ignores and over all."""
    both = (ours != IGNORE) & (peer != IGNORE)
    for class_id in THINGS.tolist():
        a, b = ours == class_id, peer == class_id
        if a.any() or b.any():
            inner = (a & b & both).sum() / max(((a | b) & both).sum(), 1)
            name, iou = LABEL_SPACE.names[class_id], (a & b).sum() / (a | b).sum()
            print(f"{name}: ours {a.sum()} px, theirs {b.sum()} px, IoU {iou:.3f}, where both are sure {inner:.3f}")


def main(command: list[str] | None = None) -> int:
    """Prints seconds and agreement. Exit status: 0 done, 2 a file is missing or is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=Path, required=True)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--overlap", default=CueSettings().overlap, choices=("smaller", "hotter", "crf"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(command)
    torch.set_num_threads(options.threads)
    try:
        measure(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def measure(options: argparse.Namespace) -> None:
    image = read_image(options.image)
    annotated = read_instance_ids(options.ids, "image")
    peer = read_palette_image(options.peer) if options.peer else None  # 255 is ignored there too
    truth = annotated.semantic()
    rows = np.flatnonzero(np.isin(annotated.class_ids, THINGS) & ~annotated.is_crowd)
    boxes, classes = tight_boxes(annotated.ids, len(annotated.class_ids))[rows], annotated.class_ids[rows]
    kept = np.argsort(-box_areas(boxes))[:BOXES]
    crops = fixed_crops(truth.shape, (400, 500))
    tags = np.array([np.isin(np.arange(len(LABEL_SPACE)), truth[y0:y1, x0:x1]) for x0, y0, x1, y1 in crops])
    torch.manual_seed(0)
    net = TagNet(SemanticSettings(), len(LABEL_SPACE)).eval()
    start = time.perf_counter()
    agreed = agreed_labels(image, boxes[kept], classes[kept], PseudoSettings())
    boxed = time.perf_counter()
    cues = tag_cues(net, image, crops, tags, CueSettings(overlap=options.overlap))
    first: PseudoPanoptic = first_labels(agreed, cues, LABEL_SPACE.is_thing)
    end = time.perf_counter()
    print(
        f"{image.shape[0]} x {image.shape[1]}, {len(kept)} of {len(rows)} boxes, {len(crops)} crops, "
        f"{options.threads} threads: "
        f"boxes {boxed - start:.1f} s, tags {end - boxed:.1f} s, together {end - start:.1f} s (aim 15 s); "
        f"{100 * (first.labels == IGNORE).mean():.0f} % ignored"
    )
    print(f"ours, from {len(kept)} boxes: {scores(agreed.labels, truth)}")
    if peer is not None:
        peer = np.where(peer == 0, BACKGROUND, peer).astype(np.uint8)
        print(f"theirs: {scores(peer, truth)}")
        compare(agreed.labels, peer)


if __name__ == "__main__":
    sys.exit(main())
