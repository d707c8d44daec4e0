"""Many bags tracked at once: one bag a task, on this machine's cores or on a Ray cluster."""

import dataclasses
import json
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from wsperception.backends.threads import default_threads
from wsperception.bundle import read_bundle
from wsperception.errors import InputError
from wsperception.track import TIMINGS_NAME, TrackRequest, run_track

ENGINES = ("processes", "ray")

Progress = Callable[[int, int | None], None]
"""Called with the number of bags that are through and the number of all."""


@dataclass(frozen=True)
class FleetRequest:
    """Which bags to track, and how.

    sources  what `open_source` takes, each with a file or folder name of its own
    each     the request for every one; `source` is replaced, and `out` is the folder of all: results go to out/<name>
    jobs     bags at the same time; None: one per core in processes, and as many as Ray has room for
    engine   one of ENGINES; ray connects to $RAY_ADDRESS, or starts Ray on this machine
    """

    sources: tuple[Path, ...]
    each: TrackRequest
    jobs: int | None = None
    engine: str = "processes"


@dataclass(frozen=True)
class Outcome:
    """What became of one bag: `error` is "" where it is done; `earlier` says that an earlier run had done it."""

    source: Path
    out: Path
    frames: int = 0
    skipped: int = 0
    seconds: float = 0.0
    error: str = ""
    earlier: bool = False

    def __str__(self) -> str:
        if self.error:
            return f"{self.source}: failed: {self.error}"
        if self.earlier:
            return f"{self.source}: done before, in {self.out}"
        return f"{self.source}: {self.frames} frames, {self.skipped} skipped, {self.seconds:.1f} s, in {self.out}"


def run_fleet(request: FleetRequest, progress: Progress | None = None) -> list[Outcome]:
    """Tracks every source into a folder of its name and returns what became of each, in their order.

    A bag that fails, or whose process dies, leaves no folder and does not stop the others. A bag whose folder holds the
    finished results of the same source, model and settings is not tracked again, so an interrupted run is taken up by
    calling it again. The results are those of `run_track` one by one.

    Raises InputError for names that clash, a model that cannot be read, an unknown engine or one that is not installed.
    """
    if request.engine not in ENGINES:
        raise InputError(f"engine '{request.engine}': unknown; expected {' or '.join(ENGINES)}")
    if request.jobs is not None and request.jobs < 1:
        raise InputError(f"jobs: expected at least 1, got {request.jobs}")
    jobs = request.jobs if request.jobs is not None else default_threads()
    threads = request.each.threads or max(1, default_threads() // jobs)
    tasks = [_task(source, request.each, threads) for source in request.sources]
    _check_names(tasks)
    model_sha256 = read_bundle(request.each.model).sha256
    outcomes: dict[Path, Outcome] = {}
    for task in tasks:
        if not request.each.replace and (found := _earlier(task, model_sha256)) is not None:
            outcomes[task.out] = found
    left = [task for task in tasks if task.out not in outcomes]
    finished = _in_processes(left, jobs) if request.engine == "processes" else _on_ray(left, request.jobs, threads)
    if progress is not None:
        progress(len(outcomes), len(tasks))
    for outcome in finished:
        outcomes[outcome.out] = outcome
        if progress is not None:
            progress(len(outcomes), len(tasks))
    return [outcomes[task.out] for task in tasks]


def track_one(task: TrackRequest) -> Outcome:
    """`run_track`, with a user's mistake or a full disk in the outcome instead of an exception."""
    try:
        summary = run_track(task)
    except InputError as error:
        return Outcome(task.source, task.out, error=" ".join(str(error).split()))
    except OSError as error:
        return Outcome(task.source, task.out, error=f"{error.filename or task.out}: {error.strerror or error}")
    return Outcome(task.source, task.out, summary.frames, len(summary.skipped), summary.seconds)


def _task(source: Path, each: TrackRequest, threads: int) -> TrackRequest:
    # Absolute, because a worker of Ray runs in another folder.
    source = source.resolve()
    name = source.name if source.is_dir() else source.stem
    settings = each.settings.resolve() if each.settings is not None else None
    model = str(Path(each.model).resolve()) if Path(each.model).is_dir() else each.model
    out = each.out.resolve() / name
    return dataclasses.replace(each, source=source, out=out, threads=threads, settings=settings, model=model)


def _check_names(tasks: Sequence[TrackRequest]) -> None:
    first: dict[Path, Path] = {}
    for task in tasks:
        if task.out in first:
            raise InputError(
                f"{task.source}: its results would go to {task.out}, as those of {first[task.out]}; track one of them "
                "apart or rename it"
            )
        first[task.out] = task.source


def _earlier(task: TrackRequest, model_sha256: str) -> Outcome | None:
    """The outcome of a finished earlier run. Files appear only when all are complete, so timings.json tells.

    None where nothing is there, or something else is: then the task runs, and refuses to write over it.
    """
    try:
        report = json.loads((task.out / TIMINGS_NAME).read_text(encoding="utf-8"))
        same = (report["model_sha256"], report["request"]) == (model_sha256, task.as_record())
        done = Outcome(task.source, task.out, report["frames"], report["skipped"], earlier=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return done if same else None


# ---- processes of this machine


def _in_processes(tasks: Sequence[TrackRequest], jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come; a process per bag, so that one that is killed takes nothing with it."""
    context = multiprocessing.get_context("spawn")
    waiting = list(tasks)
    running: dict[Any, tuple[Any, Connection, TrackRequest]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(task, sender), name=task.out.name)
                process.start()
                sender.close()
                running[process.sentinel] = (process, receiver, task)
            for sentinel in wait(list(running)):
                process, receiver, task = running.pop(sentinel)
                process.join()
                yield _received(receiver, task, process.exitcode)
    finally:
        for process, _, _ in running.values():
            process.terminate()
        for process, _, _ in running.values():
            process.join()


def _work(task: TrackRequest, sender: Connection) -> None:
    """What a process does. Told to end, it leaves no partial folder; Ctrl-C reaches it through its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sender.send(track_one(task))


def _received(receiver: Connection, task: TrackRequest, exit_code: int | None) -> Outcome:
    with receiver:
        try:
            outcome: Outcome = receiver.recv()
        except EOFError:
            how = f"by signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"with code {exit_code}"
            return Outcome(task.source, task.out, error=f"its process ended {how}, before the results were complete")
    return outcome


# ---- Ray


def _on_ray(tasks: Sequence[TrackRequest], jobs: int | None, threads: int) -> Iterator[Outcome]:
    """Outcomes as they come. The bags, the model and the output folder must have the same paths on all machines."""
    ray = _start_ray(jobs, threads)
    try:
        run = ray.remote(num_cpus=threads, max_retries=0)(track_one)
        running = {run.remote(task): task for task in tasks}
        while running:
            for reference in ray.wait(list(running), num_returns=1)[0]:
                task = running.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    reason = " ".join(str(error).split())[-300:]
                    yield Outcome(task.source, task.out, error=f"its task ended before the results were: {reason}")
    finally:
        ray.shutdown()


def _start_ray(jobs: int | None, threads: int) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody unless the user asks for it
    try:
        import ray
    except ImportError as error:
        raise InputError(f"engine 'ray': {error}; install it with pip install 'wsperception[ray]'") from None
    try:
        if os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=False, logging_level=logging.WARNING)
        else:
            cpus = jobs * threads if jobs is not None else None
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
    except Exception as error:
        ray.shutdown()  # what did start ends again
        # A start that takes more than Ray's 30 s is told by a plain Exception, of no class of its own.
        if type(error) is not Exception and not isinstance(error, ConnectionError | RuntimeError | ValueError):
            raise
        raise InputError(f"engine 'ray': cannot start or reach Ray: {' '.join(str(error).split())[:300]}") from None
    return ray
