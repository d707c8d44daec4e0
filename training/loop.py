"""The training loop: clips in, one optimizer step out, everything random a function of (seed, step, frame)."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.distributed import Processes
from training.optimisation import WeightAverage
from training.recipe import Recipe
from wsperception.data.clips import ClipFrame
from wsperception.learn.schedule import learning_rate

T = TypeVar("T")


class Clips(Protocol):
    """A training set as an endless, numbered list of clips; number -> frames is a pure function."""

    def clip(self, number: int, position: int = 0) -> list[ClipFrame]:
        """The frames of clip `number`, which is clip `position` of its batch."""


class NonFiniteLossError(RuntimeError):
    """A loss term, or the gradient, became NaN or infinite; the message names it."""


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """What one process takes through the network at once.

    frames   F frames, those of a clip side by side
    numbers  F positions in the endless list of frames: seeds of everything that is sampled from a frame
    """

    frames: list[ClipFrame]
    numbers: list[int]


@dataclass(eq=False)
class Training:
    """What changes while training."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None

    @property
    def net(self) -> nn.Module:
        """The part of the model that is exported."""
        net = self.model.net
        assert isinstance(net, nn.Module)
        return net

    def states(self) -> dict[str, Any]:
        """State dicts for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else {},
        }

    def load(self, states: dict[str, Any], iteration: int) -> None:
        """Goes on from `states` after `iteration` steps."""
        self.model.load_state_dict(states["model"])
        self.optimizer.load_state_dict(states["optimizer"])
        if states["scaler"]:
            self.scaler.load_state_dict(states["scaler"])
        if self.average:
            self.average.load_state_dict(states["average"], iteration)


def train(
    training: Training, sampler: Clips, recipe: Recipe, processes: Processes, start: int, workers: int
) -> Iterator[dict[str, float]]:
    """Runs steps `start` to the end and yields the numbers of each, after the step.

    workers  threads that prepare batches ahead; OpenCV and NumPy work outside the interpreter's lock

    Raises NonFiniteLossError naming the term, before the step that would have spoiled the weights.
    """
    wrapped = processes.wrap(training.model)
    if training.average and start == 0:
        training.average.restart(training.net)  # only now has every process the weights of the first
    iterations = range(start, recipe.training.iterations)
    training.model.train()
    before = time.perf_counter()
    for iteration, batches in zip(
        iterations,
        prefetched(lambda number: load(sampler, recipe, processes, number), iterations, workers),
        strict=True,
    ):
        waited = time.perf_counter() - before
        numbers = step(training, wrapped, batches, recipe, processes, iteration)
        after = time.perf_counter()
        yield numbers | {"seconds": after - before, "data_seconds": waited}
        before = time.perf_counter()


def load(sampler: Clips, recipe: Recipe, processes: Processes, iteration: int) -> list[MicroBatch]:
    """This process's share of the joint batch of step `iteration`, in its accumulated parts.

    The joint batch is the same list of clips however it is divided.
    """
    frames, parts = recipe.data.frames, recipe.training.accumulate
    joint = recipe.training.batch // frames  # clips
    share = joint // (processes.count * parts)
    batches = []
    for part in range(parts):
        first = (part * processes.count + processes.rank) * share
        batch: list[ClipFrame] = []
        numbers: list[int] = []
        for position in range(first, first + share):
            clip = iteration * joint + position
            batch += sampler.clip(clip, position)
            numbers += range(clip * frames, (clip + 1) * frames)
        batches.append(MicroBatch(batch, numbers))
    return batches


def step(
    training: Training,
    wrapped: nn.Module,
    batches: list[MicroBatch],
    recipe: Recipe,
    processes: Processes,
    iteration: int,
) -> dict[str, float]:
    """One optimizer step; returns the loss terms, the method's figures and what else is worth a curve."""
    settings = recipe.training
    torch.manual_seed(_seed(settings.seed, 2, iteration, processes.rank))  # dropout and the like
    rate = learning_rate(iteration, settings.iterations, settings.rate, settings.warm_up, settings.power)
    for group in training.optimizer.param_groups:
        group["lr"] = rate
    training.optimizer.zero_grad(set_to_none=True)
    terms, figures = _accumulate_gradients(training, wrapped, batches, recipe, processes, iteration)
    training.scaler.unscale_(training.optimizer)
    limit = settings.clip_norm or float("inf")
    norm = nn.utils.clip_grad_norm_(training.model.parameters(), limit)
    if not training.scaler.is_enabled() and not torch.isfinite(norm):
        raise NonFiniteLossError(f"step {iteration}: the gradient is {norm.item()}; the terms: {_list(terms)}")
    training.scaler.step(training.optimizer)
    training.scaler.update()
    if training.average:
        training.average.update(training.net)
    scalars = torch.stack([*terms.values(), norm]).detach().float()
    values = processes.mean(torch.cat([scalars, *[figure.float() for figure in figures.values()]])).tolist()
    numbers = dict(zip([f"loss.{name}" for name in terms], values, strict=False))
    numbers = {"loss.total": sum(numbers.values())} | numbers | {"learning_rate": rate}
    if np.isfinite(values[len(terms)]):  # otherwise the scaler of float16 has skipped the step
        numbers["gradient_norm"] = values[len(terms)]
    pairs = zip(figures, values[len(scalars) :: 2], values[len(scalars) + 1 :: 2], strict=True)
    return numbers | {name: total / count for name, total, count in pairs if count > 0}


def prefetched(prepare: Callable[[int], T], numbers: range, workers: int) -> Iterator[T]:
    """`prepare(number)` for each number, in order, computed ahead by `workers` threads; 0 computes when asked."""
    if workers == 0:
        yield from map(prepare, numbers)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="clips")
    ahead: deque[Future[T]] = deque()
    waiting = iter(numbers)
    try:
        for number in numbers:
            while len(ahead) < workers + 1 and (following := next(waiting, None)) is not None:
                ahead.append(pool.submit(prepare, following))
            del number
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def resolve_precision(name: str, device: torch.device) -> str:
    """ "auto" made definite for a device."""
    if name != "auto":
        return name
    if device.type == "cpu":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def _accumulate_gradients(
    training: Training,
    wrapped: nn.Module,
    batches: list[MicroBatch],
    recipe: Recipe,
    processes: Processes,
    iteration: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Leaves the gradient of the mean over all parts and processes; returns this process's loss terms and figures."""
    settings = recipe.training
    progress = iteration / settings.iterations
    terms: dict[str, Tensor] = {}
    figures: dict[str, Tensor] = {}
    for part, batch in enumerate(batches):
        last = part == len(batches) - 1
        # Gradients of all parts add up before the processes exchange them.
        with nullcontext() if last or not isinstance(wrapped, DistributedDataParallel) else wrapped.no_sync():
            losses, more = _forward(wrapped, batch, settings.seed, progress, settings.precision, processes.device)
            _check_finite(losses, iteration)
            total = torch.stack(list(losses.values())).sum() / len(batches)
            torch.autograd.backward(training.scaler.scale(total))
        for name, value in losses.items():
            terms[name] = terms.get(name, torch.zeros_like(value)) + value.detach() / len(batches)
        for name, figure in more.items():
            figures[name] = figures.get(name, torch.zeros_like(figure)) + figure.detach()
    return terms, figures


def _forward(
    wrapped: nn.Module, batch: MicroBatch, seed: int, progress: float, precision: str, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generators = [torch.Generator().manual_seed(_seed(seed, 3, number)) for number in batch.numbers]
    exact = resolve_precision(precision, device)
    kind = torch.float16 if exact == "fp16" else torch.bfloat16
    with torch.autocast(device.type, kind, enabled=exact != "fp32"):
        losses, figures = wrapped(batch.frames, generators, progress)
    return losses, figures


def _check_finite(losses: dict[str, Tensor], iteration: int) -> None:
    values = torch.stack([value.detach().float() for value in losses.values()]).tolist()  # one wait for the device
    for name, value in zip(losses, values, strict=True):
        if not np.isfinite(value):
            raise NonFiniteLossError(f"step {iteration}: loss term '{name}' is {value}; all terms: {_list(losses)}")


def _list(losses: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
