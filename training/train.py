"""Trains a method's network on KITTI tracking or KITTI MOTS data, or on synthetic drives.

    python training/train.py --method wsmots --data DRIVE --out runs/one --config config/wsmots.yaml
    python training/train.py --method wise --data CLICKS --out runs/two --config config/wise.yaml
    python training/train.py --method wsmots --labels pseudo --data MASKS --out runs/three --config config/wsmots.yaml

On several GPUs or machines: `torchrun --nproc-per-node 4 training/train.py ...`; the batch is that of all processes
together, so the result does not depend on how many there are.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # run as a file: the repository, not this folder, is where packages are found
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2
import torch
from tqdm import tqdm

from training import checkpoint
from training.distributed import Processes, join
from training.loop import NonFiniteLossError, Training, resolve_precision, train
from training.optimisation import WeightAverage, make_optimizer
from training.pseudo_folder import expect_notes
from training.recipe import Recipe, read_recipe, record, write_json
from training.run_log import CollapseAlarm, RunLog
from wsperception.data.clip_sampler import ClipSampler
from wsperception.data.frame_store import FrameStore
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.data.panoptic_frames import PanopticFrames
from wsperception.data.panoptic_labels import PanopticLabels
from wsperception.data.tagged_frames import read_tagged_frames
from wsperception.errors import InputError
from wsperception.learn.methods import METHODS, supervisions
from wsperception.learn.panoptic.candidates import training_labels
from wsperception.learn.proposals.segment_store import SegmentStore
from wsperception.learn.pseudo.cache import with_pseudo_masks
from wsperception.nets.perception_net import PerceptionNet
from wsperception.nets.weights import has_backbone, load_imagenet

DOWNLOAD = "download"
SEMANTIC = "semantic."
"""What the names of the weights of a PerceptionNet's semantic branch begin with."""
PSEUDO = "pseudo"

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 the training failed, 2 the user's input was wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        recipe = read_recipe(options.method, options.config, _changes(options))
        with join(options.device) as processes:
            run(options, recipe, processes, ["training/train.py", *arguments])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except NonFiniteLossError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace, recipe: Recipe, processes: Processes, command: list[str]) -> None:
    """The whole run: data, network, steps, weights. `command` is recorded."""
    if recipe.training.batch % (recipe.data.frames * recipe.training.accumulate * processes.count):
        raise InputError(
            f"training.batch: expected a multiple of frames x accumulate x processes = {recipe.data.frames} x "
            f"{recipe.training.accumulate} x {processes.count}, got {recipe.training.batch}"
        )
    out: Path = options.out
    _check_folder(out, options.resume)
    if options.labels == PSEUDO:
        expect_notes(options.data)
    frames = _labelled_frames(tuple(options.data), recipe)
    if not frames:
        raise InputError(f"{options.data[0]}: expected at least one image")
    cv2.setNumThreads(1)  # batches are prepared in threads of their own
    cache = None if options.no_cache else options.cache or out.parent / "cache"
    if not processes.first:
        processes.wait()  # the first process decodes, the others map what it wrote
    frames, masked = _with_masks(frames, recipe, out, options)
    store = FrameStore(frames, recipe.data.stored_size, masked, cache, max(options.workers, 2))
    segments = _segments(store, recipe, cache, options.workers)
    panoptic = _panoptic_labels(frames, recipe, options) if options.panoptic else None
    if processes.first:
        processes.wait()
    training = _prepare(recipe, processes)
    if (out / checkpoint.NAME).exists():
        start = _resume(out / checkpoint.NAME, training, recipe)
    else:
        start = 0
        _start_weights(training, recipe, processes, options)
    sampler = ClipSampler(frames, store, recipe.data, recipe.training.seed, segments, panoptic)
    processes.wait()  # before the first process writes what the others look for
    if processes.first:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "recipe.json", record(recipe, command, options.data, frames))
    _describe(frames, training, recipe, processes, start)
    _steps(training, sampler, recipe, processes, start, options, RunLog(out, start) if processes.first else None)
    if processes.first:
        checkpoint.save_tensors(out / "weights.pt", _export_weights(training))
        print(f"weights: {out / 'weights.pt'}")


def _panoptic_labels(
    frames: list[LabelledFrame], recipe: Recipe, options: argparse.Namespace
) -> Callable[[int], PanopticLabels]:
    learns_candidates = getattr(recipe.method, "candidate_weight", 0.0) > 0.0
    labels_of = training_labels if learns_candidates else PanopticFrames
    return labels_of(frames, options.data, options.panoptic, recipe.labels)


def _labelled_frames(roots: tuple[Path, ...], recipe: Recipe) -> list[LabelledFrame]:
    data, supervision = recipe.data, recipe.training.supervision
    if supervision == "tags":
        return read_tagged_frames(roots, data.split, recipe.labels)
    return read_labelled_frames(roots, data.split, recipe.labels, supervision, data.points_from)


def _with_masks(
    frames: list[LabelledFrame], recipe: Recipe, out: Path, options: argparse.Namespace
) -> tuple[list[LabelledFrame], bool]:
    """The frames, with pseudo masks where weak supervision asks for them; and whether masks are to be stored."""
    if recipe.training.supervision == "full":
        return frames, True
    settings = getattr(recipe.method, "pseudo_masks", None)
    if settings is None:
        return frames, False
    folder = (options.cache or out.parent / "cache") / "pseudo"
    return with_pseudo_masks(frames, settings, folder, options.workers), True


def _segments(store: FrameStore, recipe: Recipe, cache: Path | None, workers: int) -> SegmentStore | None:
    """The segment proposals of the frames, where the method asks for them."""
    settings = getattr(recipe.method, "segments", None)
    if settings is None:
        return None
    segments = SegmentStore(store, settings, recipe.method.largest_segment, cache and cache / "segments")
    segments.fill(workers)
    return segments


def _steps(
    training: Training,
    sampler: ClipSampler,
    recipe: Recipe,
    processes: Processes,
    start: int,
    options: argparse.Namespace,
    log: RunLog | None,
) -> None:
    iterations = recipe.training.iterations
    path = options.out / checkpoint.NAME
    bar = tqdm(
        total=iterations, initial=start, disable=log is None, mininterval=0.5 if sys.stderr.isatty() else 30.0,
        dynamic_ncols=True,
    )  # fmt: skip
    alarm = CollapseAlarm()
    steps = train(training, sampler, recipe, processes, start, options.workers)
    try:
        for iteration, numbers in enumerate(steps, start):
            if log is None:
                continue
            log.write(iteration, numbers)
            if message := alarm.message(iteration, numbers.get("mask_area_share")):
                logger.warning(message)
            bar.update()
            bar.set_postfix_str(f"loss {numbers['loss.total']:.3f}", refresh=False)
            done = iteration + 1
            if done % recipe.training.checkpoint_every == 0 or done == iterations:
                log.flush()
                checkpoint.save(path, done, recipe.mapping(), training.states())
    finally:
        bar.close()
        if log is not None:
            log.close()


def _prepare(recipe: Recipe, processes: Processes) -> Training:
    settings = recipe.training
    torch.manual_seed(settings.seed)
    model = METHODS[recipe.name].build(recipe.method, len(recipe.labels), settings.supervision)
    if settings.channels_last:
        model = model.to(memory_format=torch.channels_last)
    model = model.to(processes.device)
    if processes.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    scaled = resolve_precision(settings.precision, processes.device) == "fp16"
    scaler = torch.amp.GradScaler(processes.device.type, enabled=scaled)
    average = WeightAverage(model.net, settings.average) if settings.average else None
    if average and recipe.needs_teacher:
        model.learn_from(average.network(model.net))
    return Training(model, make_optimizer(model, settings), scaler, average)


def _start_weights(training: Training, recipe: Recipe, processes: Processes, options: argparse.Namespace) -> None:
    """Weights of another run, or of ImageNet; the other processes get them from the first, when it wraps the model."""
    if not processes.first:
        return
    if options.init is not None:
        _load_weights(training.net, options.init)
    elif options.imagenet is not None:
        net = training.net
        if not has_backbone(net):
            raise InputError(f"--imagenet: the network of {recipe.name} takes no ImageNet weights")
        load_imagenet(net, imagenet_file(options.imagenet))


def imagenet_file(given: str) -> Path | None:
    """The file that --imagenet names; None: it is to be downloaded."""
    return None if given == DOWNLOAD else Path(given)


def _load_weights(net: torch.nn.Module, path: Path) -> None:
    weights = checkpoint.load_tensors(path)
    if isinstance(net, PerceptionNet) and not any(name.startswith(SEMANTIC) for name in weights):
        # A semantic branch may be added to a network that was trained without one: it starts as it is.
        weights = {name: value for name, value in net.state_dict().items() if name.startswith(SEMANTIC)} | weights
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected weights of this network: {reason}") from None


def _resume(path: Path, training: Training, recipe: Recipe) -> int:
    """Steps done."""
    values = checkpoint.load(path, recipe.mapping())
    training.load(values["states"], values["iteration"])
    return int(values["iteration"])


def _export_weights(training: Training) -> dict[str, torch.Tensor]:
    weights = training.average.state_dict() if training.average else training.net.state_dict()
    return {name: value.detach().cpu().contiguous() for name, value in weights.items()}


def _check_folder(out: Path, resume: str) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder for the run, got a file")
    if resume == "no" and out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: exists; expected a new folder, or --resume auto to go on with the run in it")


def _describe(
    frames: list[LabelledFrame], training: Training, recipe: Recipe, processes: Processes, start: int
) -> None:
    if not processes.first:
        return
    objects = sum(frame.objects for frame in frames)
    parameters = sum(parameter.numel() for parameter in training.model.parameters())
    height, width = recipe.data.input_size
    print(
        f"{recipe.name}, {recipe.training.supervision} supervision: {len(frames)} frames, {objects} objects at "
        f"{width}x{height}; {parameters / 1e6:.2f} M parameters on {processes.device}, {processes.count} process(es); "
        f"steps {start} to {recipe.training.iterations}, batch {recipe.training.batch}"
    )


def _changes(options: argparse.Namespace) -> list[str]:
    if options.labels == PSEUDO and options.supervision not in (None, "full"):
        raise InputError(f"--labels pseudo: masks are learnt under full supervision, got {options.supervision}")
    named = {
        "supervision": "full" if options.labels == PSEUDO else options.supervision,
        "iterations": options.iterations,
        "batch": options.batch,
        "accumulate": options.accumulate,
        "seed": options.seed,
        "precision": options.precision,
    }
    short = [f"training.{key}={value}" for key, value in named.items() if value is not None]
    return [*short, *options.set]


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=sorted(METHODS), default="wsmots")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="KITTI folders or synthetic drives")
    parser.add_argument(
        "--panoptic", type=Path, nargs="+", metavar="FOLDER", help="COCO panoptic labels, one folder for each of --data"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--config", type=Path, help="YAML with the sections training, data and method")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting")
    parser.add_argument(
        "--supervision", choices=sorted({kind for method in METHODS for kind in supervisions(method)}),
        help="weak: boxes and ids; full: masks; points: one per object; tags: classes of an image. Default: by method",
    )  # fmt: skip
    parser.add_argument(
        "--labels", choices=("given", PSEUDO), default="given",
        help="pseudo: the masks are those that training/pseudo_labels.py made, and stand for true ones",
    )  # fmt: skip
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--batch", type=int, help="frames per step over all processes")
    parser.add_argument("--accumulate", type=int, help="parts per process and step")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=int, default=1, help="threads that prepare batches ahead")
    parser.add_argument("--resume", choices=("auto", "no"), default="no", help="auto: go on where the run stopped")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--init", type=Path, metavar="FILE", help="weights.pt of another run to start from")
    start.add_argument(
        "--imagenet", nargs="?", const=DOWNLOAD, metavar="FILE",
        help="start from torchvision's ImageNet weights of the backbone; without FILE they are downloaded",
    )  # fmt: skip
    parser.add_argument("--cache", type=Path, help="folder for decoded frames; default: cache beside the run")
    parser.add_argument("--no-cache", action="store_true", help="decode every frame anew")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    started = time.perf_counter()
    status = main()
    if status == 0:
        print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(status)
