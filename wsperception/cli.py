"""The command line: arguments in, one call, a few lines out. What a command does lives elsewhere."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

from wsperception import __version__
from wsperception.errors import InputError

if TYPE_CHECKING:
    from wsperception.track import TrackRequest

OK, FOUND_WRONG, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
_SHOWN_SKIPS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` (default: of the process) names, and returns the exit code.

    0 on success; 1 where the doctor found something that does not work, or some of several bags failed; 2 with one line
    on stderr for a user's mistake, a full disk or a forbidden file; 130 on Ctrl-C.
    """
    logging.basicConfig(level=logging.WARNING, format="wsperception: %(message)s")
    try:
        arguments = _parser().parse_args(argv)
        command: Callable[[argparse.Namespace], int | None] = arguments.command
        return command(arguments) or OK
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "wsperception":
            raise
        return _fail(f"this command needs the Python package '{error.name}', which is not installed")
    except KeyboardInterrupt:
        print("wsperception: interrupted", file=sys.stderr)
        return INTERRUPTED


def _fail(text: str) -> int:
    print(f"wsperception: {' '.join(text.split())}", file=sys.stderr)
    return BAD_INPUT


class _Parser(argparse.ArgumentParser):
    """argparse, whose errors are InputErrors: one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="wsperception", description="Masks and track ids from a camera, trained on cheap labels.")
    parser.add_argument("--version", action="version", version=f"wsperception {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(commands.add_parser("demo", help="make a synthetic drive, track it and score the result"))
    _add_track(commands.add_parser("track", help="masks and track ids of a KITTI sequence, images, a video or a bag"))
    _add_eval(commands.add_parser("eval", help="score results against ground truth"))
    _add_drive(commands.add_parser("drive", help="make a synthetic drive: KITTI MOTS layout and rosbag2"))
    _add_label(commands.add_parser("label", help="label frames by points, boxes and tags on a local page"))
    _add_bench(commands.add_parser("bench", help="how long each stage takes here, per engine"))
    _add_engine(commands.add_parser("engine", help="build a model's TensorRT engine before a robot needs it"))
    _add_doctor(commands.add_parser("doctor", help="what is installed, what fits together, what is missing"))
    return parser


def _add_track(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes <sequence>.txt (MOTS text), overlay.mp4 and timings.json into a folder; of several sources, into a "
        "folder of its name for each. Called again, it goes on with the sources that are not done."
    )
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="KITTI sequence, folder of images, video file or rosbag2 folder",
    )
    parser.add_argument("--model", default="tiny", metavar="BUNDLE", help="folder or name of a model (default: tiny)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--topic", help="image topic of a bag that has several")
    parser.add_argument("--sequence", metavar="NAME", help="sequence, where SOURCE is a KITTI root with several")
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="frames per second of images without time stamps (default: 10)"
    )
    parser.add_argument("--backend", default="auto", help="engine that runs the network (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the engine (default: one per core)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="YAML file of pipeline settings")
    parser.add_argument("--no-video", action="store_true", help="leave overlay.mp4 out")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run's files in DIR")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="sources tracked at the same time (default: one per core)"
    )
    parser.add_argument("--engine", choices=("processes", "ray"), help="what runs several sources (default: processes)")
    parser.set_defaults(command=_track)


def _track(arguments: argparse.Namespace) -> int:
    from wsperception.track import TrackRequest, run_track

    request = TrackRequest(
        arguments.sources[0],
        arguments.model,
        arguments.out,
        topic=arguments.topic,
        sequence=arguments.sequence,
        rate_hz=arguments.rate,
        backend=arguments.backend,
        threads=arguments.threads,
        settings=arguments.settings,
        video=not arguments.no_video,
        replace=arguments.overwrite,
    )
    if len(arguments.sources) > 1 or arguments.jobs is not None or arguments.engine is not None:
        return _track_fleet(arguments, request)
    with _progress("tracking") as progress:
        summary = run_track(request, progress)
    for skip in summary.skipped[:_SHOWN_SKIPS]:
        print(f"wsperception: skipped: {skip.reason}", file=sys.stderr)
    if len(summary.skipped) > _SHOWN_SKIPS:
        print(f"wsperception: skipped: {len(summary.skipped) - _SHOWN_SKIPS} more", file=sys.stderr)
    rate = summary.frames / summary.seconds
    print(f"{summary.sequence}: {summary.frames} frames, {len(summary.skipped)} skipped, {rate:.1f} frames/s")
    for file in (summary.text, summary.video, summary.panoptic, summary.timings):
        if file is not None:
            print(f"  {file}")
    return OK


def _track_fleet(arguments: argparse.Namespace, each: "TrackRequest") -> int:
    from wsperception.fleet import FleetRequest, run_fleet

    request = FleetRequest(tuple(arguments.sources), each, arguments.jobs, arguments.engine or "processes")
    with _progress("tracking", " bags") as progress:
        outcomes = run_fleet(request, progress)
    for outcome in outcomes:
        print(outcome, file=sys.stderr if outcome.error else sys.stdout)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    print(f"{len(outcomes) - failed} of {len(outcomes)} done, {failed} failed")
    return FOUND_WRONG if failed else OK


def _add_eval(parser: argparse.ArgumentParser) -> None:
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
    parser.set_defaults(command=_eval)


def _eval(arguments: argparse.Namespace) -> None:
    from wsperception.evaluation.command import evaluate_command

    with _progress("scoring", " images") as progress:
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


def _add_drive(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes frames, masks, ids, boxes and a rosbag2 into a new folder; a seed gives the same bytes."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that does not exist yet")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another drive (default: 0)")
    parser.add_argument("--frames", type=int, default=100, metavar="N", help="length of a sequence (default: 100)")
    parser.add_argument("--sequences", type=int, default=1, metavar="N", help="number of sequences (default: 1)")
    parser.add_argument(
        "--size", type=_size, default=(375, 1242), metavar="HxW", help="height and width in pixels (default: 375x1242)"
    )
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="frames per second (default: 10)")
    parser.add_argument("--scene", default="any", help="kind of street (default: any, drawn by the seed)")
    parser.add_argument(
        "--silhouettes", type=Path, metavar="FILE", help="MOTS text whose masks, ids and motion are taken"
    )
    parser.add_argument(
        "--from-kitti",
        type=Path,
        metavar="SEQUENCE",
        help="write this KITTI sequence as a rosbag2 instead; --rate counts",
    )
    parser.add_argument("--panoptic", action="store_true", help="also write panoptic labels, in COCO's format")
    parser.add_argument("--no-bag", action="store_true", help="leave the rosbag2 out")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="sequences made at the same time (default: 1)")
    parser.set_defaults(command=_drive)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    try:
        return int(height), int(width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH as in 375x1242, got '{text}'") from None


def _drive(arguments: argparse.Namespace) -> None:
    from wsperception.data.drive.write import drive_command
    from wsperception.data.kitti_bag import kitti_to_bag

    if arguments.from_kitti is not None:
        with _progress("copying") as progress:
            name = kitti_to_bag(arguments.from_kitti, arguments.out, rate_hz=arguments.rate, progress=progress)
        print(f"{arguments.out}: sequence {name}")
        return
    with _progress("painting") as progress:
        names = drive_command(
            arguments.out,
            arguments.seed,
            sequences=arguments.sequences,
            frames=arguments.frames,
            size=arguments.size,
            rate_hz=arguments.rate,
            scene=arguments.scene,
            bag=not arguments.no_bag,
            panoptic=arguments.panoptic,
            silhouettes=arguments.silhouettes,
            jobs=arguments.jobs,
            progress=progress,
        )
    print(f"{arguments.out}: sequences {', '.join(names)}")


def _add_label(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Takes frames from SOURCE into a folder and serves one page, on this machine only, to label them: points, "
        "boxes, classes, ids, tags, ignore regions. Every change is saved at once in DIR/labels.json, the weak-label "
        "file that training reads. Ctrl-C ends it; the same command goes on where it ended. With --import or --export "
        "labels of CVAT or LabelMe are taken in or handed out instead, and no page is served."
    )
    parser.add_argument(
        "source",
        type=Path,
        nargs="?",
        metavar="SOURCE",
        help="KITTI sequence, folder of images, video file or rosbag2 folder; may be left out to go on in DIR",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the frames and labels")
    parser.add_argument(
        "--every", type=int, metavar="N", help="take every N-th frame (default: 1); a smaller N later adds frames"
    )
    parser.add_argument(
        "--classes", metavar="NAMES", help="car,pedestrian,... in the order of their ids; more may follow later"
    )
    parser.add_argument("--model", metavar="BUNDLE", help="classes of this model (default: tiny)")
    parser.add_argument("--topic", help="image topic of a bag that has several")
    parser.add_argument("--sequence", metavar="NAME", help="sequence, where SOURCE is a KITTI root with several")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of the page (default: a free one)")
    parser.add_argument("--jpeg", action="store_true", help="keep frames as JPEG of quality 95 instead of PNG")
    parser.add_argument(
        "--import", dest="take_in", type=Path, metavar="PATH", help="CVAT XML 1.1 file, or folder of LabelMe files"
    )
    parser.add_argument(
        "--export", dest="hand_out", type=Path, metavar="PATH", help="FILE.xml: CVAT for images; else LabelMe folder"
    )
    parser.add_argument("--video", action="store_true", help="export CVAT for video: tracks, no tags")
    parser.add_argument("--overwrite", action="store_true", help="replace labels and files that are there already")
    parser.set_defaults(command=_label)


def _label(arguments: argparse.Namespace) -> None:
    from wsperception.labelling.command import LabelRequest, label_command

    request = LabelRequest(
        arguments.source,
        arguments.out,
        every=arguments.every,
        classes=None if arguments.classes is None else tuple(arguments.classes.split(",")),
        model=arguments.model,
        topic=arguments.topic,
        sequence=arguments.sequence,
        port=arguments.port,
        jpeg=arguments.jpeg,
        take_in=arguments.take_in,
        hand_out=arguments.hand_out,
        video=arguments.video,
        replace=arguments.overwrite,
    )

    def announce(url: str) -> None:
        print(f"label at {url}  (Ctrl-C ends)", flush=True)

    summary = label_command(request, announce, _progress)
    minutes = sum(summary.seconds.values()) / 60
    print(f"{summary.path}: {summary.labelled} of {summary.frames} frames labelled, {minutes:.1f} min")


def _add_bench(parser: argparse.ArgumentParser) -> None:
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
        ("--image-size", "HxW", _size, "size of the drive's images; repeatable (default: 375x1242)"),
    ]
    for flag, metavar, kind, text in repeatable:
        parser.add_argument(flag, action="append", metavar=metavar, type=kind, help=text)
    parser.add_argument("--rounds", type=int, default=50, metavar="N", help="measured runs of each (default: 50)")
    parser.add_argument("--warm-up", type=int, default=5, metavar="N", help="runs before them (default: 5)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of the engine (default: one per core)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="compare with the figures of an earlier --out")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a profile of one frame, for ui.perfetto.dev")
    parser.set_defaults(command=_bench)


def _bench(arguments: argparse.Namespace) -> None:
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
    with _progress("measuring", " rounds") as progress:
        report = run_bench(request, progress)
    if arguments.out is not None:
        report.write(arguments.out)
    print(bench_table(report.as_mapping(), baseline))


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.description = "Builds an engine into the cache, compares it with ONNX Runtime and says the figures."
    parser.add_argument("--model", default="tiny", metavar="BUNDLE", help="folder or name of a model (default: tiny)")
    parser.add_argument("--precision", choices=("fp16", "fp32", "int8"), default="fp16", help="(default: fp16)")
    parser.add_argument(
        "--int8", type=Path, metavar="SOURCE", help="INT8 instead, calibrated on a bag, a video or a folder of images"
    )
    parser.add_argument("--topic", help="image topic of a bag that has several")
    parser.add_argument("--cameras", type=int, default=1, metavar="N", help="images run at once (default: 1)")
    parser.add_argument("--build-only", action="store_true", help="do not run it: TensorRT-RTX then needs no GPU")
    parser.set_defaults(command=_engine)


def _engine(arguments: argparse.Namespace) -> None:
    from wsperception.engine import EngineRequest, engine_command

    logging.getLogger("wsperception.backends").setLevel(logging.INFO)  # a build takes minutes: say how it goes
    precision = "int8" if arguments.int8 is not None else arguments.precision
    request = EngineRequest(
        arguments.model,
        precision,
        arguments.cameras,
        int8=arguments.int8,
        topic=arguments.topic,
        build_only=arguments.build_only,
    )
    print(engine_command(request))


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what is installed, whether it fits together, and what to do; exit code 1 where it does not."
    )
    parser.add_argument("--model", default="tiny", metavar="BUNDLE", help="model to load (default: tiny)")
    parser.add_argument("--image-topic", metavar="TOPIC", help="camera topic to look at; default: list them")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="how long to listen (default: 3)")
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from wsperception.doctor import doctor_command

    text, status = doctor_command(arguments.model, arguments.image_topic, arguments.seconds)
    print(text)
    return status


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.description = "Makes a synthetic drive, tracks it with a shipped model and scores the result."
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: out/demo")
    parser.add_argument("--model", default="tiny", metavar="BUNDLE", help="folder or name of a model (default: tiny)")
    parser.add_argument("--seed", type=int, default=2026, metavar="N", help="another seed, another drive")
    parser.add_argument("--frames", type=int, default=100, metavar="N", help="length of the drive (default: 100)")
    parser.add_argument("--offline", action="store_true", help="do not replay the drive over ROS 2 topics")
    parser.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> None:
    from wsperception.demo import can_go_live, run_demo

    live = can_go_live() and not arguments.offline
    summary = run_demo(arguments.out, arguments.model, arguments.seed, arguments.frames, live, _progress)
    rate = summary.track.frames / summary.track.seconds
    print(f"{summary.track.frames} frames tracked at {rate:.1f} frames/s\n\n{summary.table}\n")
    if live:
        print(f"the same drive, offline and live over ROS 2 topics\n\n{summary.live_table}\n")
    elif not arguments.offline:
        print("live replay left out: there is no ROS 2 in this environment (pip install 'wsperception[ros]')\n")
    for what, where in summary.files:
        print(f"{what + ':':<27}{where}")


@contextmanager
def _progress(title: str, unit: str = " frames") -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere: a function that takes how many are done, and of how many."""
    with tqdm(desc=title, unit=unit, disable=not sys.stderr.isatty(), leave=False, dynamic_ncols=True) as bar:

        def show(done: int, length: int | None) -> None:
            bar.total = length
            bar.update(done - bar.n)

        yield show
