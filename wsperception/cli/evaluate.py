"""`wsperception eval`: results against ground truth."""

import argparse
from pathlib import Path

from wsperception.cli.progress import progress_bar


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the parser of this command its options."""
    parser.description = "Writes scores.json and report.html into a folder and prints the table."
    parser.add_argument("--gt", type=Path, required=True, metavar="PATH", help="ground truth: see --format")
    parser.add_argument("--pred", type=Path, required=True, metavar="PATH", help="results: see --format")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the scores")
    parser.add_argument(
        "--format",
        default="mots",
        help="mots: text or PNG (default). coco-panoptic: JSON file beside its folder of PNG, or a folder of such. "
        "cityscapes: folder with *_instanceIds.png. voc: folder with SegmentationClass and SegmentationObject",
    )
    parser.add_argument("--split", metavar="NAME", help="train, val, ... of Cityscapes or VOC (default: all)")
    parser.add_argument("--images", type=Path, metavar="DIR", help="camera images, for pictures in the report")
    parser.add_argument("--sequence", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--seqmap", type=Path, metavar="FILE", help="KITTI MOTS seqmap: sequences and their lengths")
    parser.add_argument(
        "--missing-as-empty", action="store_true", help="sequences and images without results: nothing was found there"
    )
    parser.add_argument("--strict", action="store_true", help="IoU must exceed 0.5, as in mots_tools, not reach it")
    parser.add_argument("--overwrite", action="store_true", help="replace earlier scores in DIR")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from wsperception.evaluation.command import evaluate_command

    with progress_bar("scoring", " images") as progress:
        table = evaluate_command(
            arguments.gt,
            arguments.pred,
            arguments.out,
            images=arguments.images,
            sequences=arguments.sequence,
            seqmap=arguments.seqmap,
            split=arguments.split,
            data_format=arguments.format,
            missing_as_empty=arguments.missing_as_empty,
            strict=arguments.strict,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    print(table)
