"""`wsperception bench`: how long each stage takes."""

import argparse
from collections.abc import Callable
from pathlib import Path

from wsperception.cli.image_size import image_size
from wsperception.cli.progress import progress_bar


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the parser of this command its options."""
    parser.description = (
        "Measures every combination of the engines, precisions, batches and image sizes that are named, taking turns, "
        "on images of a synthetic drive or of SOURCE; prints p50 of the stages, and p50, p95, p99 of the whole."
    )
    parser.add_argument("--model", default="tiny", metavar="BUNDLE", help="folder or name of a model (default: tiny)")
    parser.add_argument("--source", type=Path, metavar="SOURCE", help="images to use: what track takes")
    repeatable: list[tuple[str, str, Callable[[str], object], str]] = [
        ("--backend", "NAME", str, "engine, or all; repeatable (default: auto)"),
        ("--precision", "NAME", str, "fp32, fp16, bf16 or int8; repeatable (default: auto)"),
        ("--batch", "N", int, "images at once; repeatable (default: 1)"),
        ("--image-size", "HxW", image_size, "size of the drive's images; repeatable (default: 375x1242)"),
    ]
    for flag, metavar, kind, text in repeatable:
        parser.add_argument(flag, action="append", metavar=metavar, type=kind, help=text)
    parser.add_argument("--rounds", type=int, default=50, metavar="N", help="measured runs of each (default: 50)")
    parser.add_argument("--warm-up", type=int, default=5, metavar="N", help="runs before them (default: 5)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the engine (default: one per core)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="compare with the figures of an earlier --out")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a profile of one frame, for ui.perfetto.dev")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from wsperception.bench import BenchRequest, run_bench
    from wsperception.bench_report import bench_table, read_baseline

    baseline = read_baseline(arguments.baseline) if arguments.baseline is not None else None
    request = BenchRequest(
        arguments.model,
        tuple(arguments.backend or ["auto"]),
        tuple(arguments.precision or ["auto"]),
        tuple(arguments.batch or [1]),
        tuple(arguments.image_size or [(375, 1242)]),
        arguments.source,
        arguments.rounds,
        arguments.warm_up,
        arguments.threads,
        arguments.trace,
    )
    with progress_bar("measuring", " rounds") as progress:
        report = run_bench(request, progress)
    if arguments.out is not None:
        report.write(arguments.out)
    print(bench_table(report.as_mapping(), baseline))
