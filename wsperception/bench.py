"""`wsperception bench`: how long every stage of the path takes on this machine, case by case."""

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsperception.backends import BACKENDS, Backend, EngineFacts, open_backend
from wsperception.bench_report import BenchReport, CaseTimes, machine, resident_bytes
from wsperception.bundle import ModelBundle, read_bundle
from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.data.sources import open_source
from wsperception.errors import InputError
from wsperception.pipeline import Pipeline
from wsperception.trace import trace_frame, write_trace
from wsperception.types import Frame

IMAGES = 8
"""Different images that a case sees in turn, to and fro, so that tracks go on."""
RATE_HZ = 10

_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the number of rounds done and of all."""


@dataclass(frozen=True)
class BenchRequest:
    """What to measure: every combination of backends, precisions, batches and image sizes.

    model        folder or name of a bundle
    backends     names of engines; "all": those of BACKENDS that load here, the others are named in the log
    precisions   of PRECISIONS; a combination that a backend does not have is left out, and named in the log
    batches      images at once, one camera each
    image_sizes  (H, W) of the camera images, of a synthetic drive
    source       what `open_source` takes, whose first images are used instead; `image_sizes` is then not looked at
    rounds       measured runs of every case; warm_up  runs before them that do not count
    threads      CPU threads of the engines; None: their choice
    trace        file for the profile of one frame of the first case; None: none
    """

    model: str = "tiny"
    backends: tuple[str, ...] = ("auto",)
    precisions: tuple[str, ...] = ("auto",)
    batches: tuple[int, ...] = (1,)
    image_sizes: tuple[tuple[int, int], ...] = ((375, 1242),)
    source: Path | None = None
    rounds: int = 50
    warm_up: int = 5
    threads: int | None = None
    trace: Path | None = None

    def __post_init__(self) -> None:
        for name, values in (("rounds", (self.rounds,)), ("batch", self.batches)):
            if min(values) < 1:
                raise InputError(f"{name}: expected at least 1, got {min(values)}")
        if self.warm_up < 0:
            raise InputError(f"warm-up: expected at least 0, got {self.warm_up}")
        for height, width in self.image_sizes:
            if min(height, width) < 1:
                raise InputError(f"image size: expected at least 1x1, got {height}x{width}")


@dataclass(eq=False)
class _Case:
    """One combination, loaded, and what was measured of it so far."""

    batch: int
    images: Sequence[np.ndarray]
    facts: EngineFacts
    pipeline: Pipeline
    memory_bytes: int
    runs: int = 0
    objects: int = 0
    times_ms: dict[str, list[float]] = field(default_factory=dict)

    def frames(self) -> list[Frame]:
        """The next image of every camera."""
        place = self.runs % (2 * len(self.images))
        image = self.images[min(place, 2 * len(self.images) - 1 - place)]  # 0 1 2 2 1 0 0 1 ...
        stamp_ns = self.runs * 10**9 // RATE_HZ
        return [Frame(image, stamp_ns, f"camera {camera}", self.runs) for camera in range(self.batch)]

    def run(self, *, counts: bool) -> None:
        """One batch through the path."""
        frames = self.frames()
        start = time.perf_counter()
        results = self.pipeline.batch(frames)
        total_ms = (time.perf_counter() - start) * 1e3
        self.runs += 1
        if not counts:
            return
        self.objects += sum(len(result.instances) for result in results)
        for stage in results[0].timings_ms:
            shared = stage == "network"  # frames of a batch share its time, the other stages are theirs alone
            spent = [result.timings_ms[stage] for result in results]
            self.times_ms.setdefault(stage, []).append(spent[0] if shared else sum(spent))
        self.times_ms.setdefault("total", []).append(total_ms)

    def times(self, facts: EngineFacts) -> CaseTimes:
        image = self.images[0]
        frames = len(self.times_ms["total"]) * self.batch
        return CaseTimes(
            facts,
            self.batch,
            (image.shape[0], image.shape[1]),
            self.times_ms,
            self.objects / frames,
            self.memory_bytes,
        )


def run_bench(request: BenchRequest, progress: Progress | None = None) -> BenchReport:
    """Measures every case and returns the figures.

    The cases take turns, run by run, so that what else the machine does slows all of them alike. Images are in memory:
    nothing is read, drawn or published. Raises InputError where no case can be loaded, naming why.
    """
    bundle = read_bundle(request.model)
    rounds = request.warm_up + request.rounds
    with ExitStack() as stack:
        backends: list[Backend] = []
        cases = _load(request, bundle, stack, backends)
        if request.trace is not None:
            write_trace(request.trace, trace_frame(cases[0].pipeline, backends[0], bundle, cases[0].frames()[0]))
        before = 0
        for number in range(rounds):
            if number == request.warm_up:
                before = resident_bytes()
            for case in cases if number % 2 == 0 else reversed(cases):
                case.run(counts=number >= request.warm_up)
            if progress is not None:
                progress(number + 1, rounds)
        grown = resident_bytes() - before
        measured = [case.times(backend.describe()) for case, backend in zip(cases, backends, strict=True)]
    return BenchReport(machine(), bundle.name, bundle.sha256, bundle.input_size, measured, grown)


def _load(request: BenchRequest, bundle: ModelBundle, stack: ExitStack, backends: list[Backend]) -> list[_Case]:
    """The cases that this machine can run; their backends are put into `backends` and closed by `stack`."""
    names = [name for chosen in request.backends for name in (BACKENDS if chosen == "all" else (chosen,))]
    several = len(names) * len(request.precisions) > 1
    image_sets = list(_image_sets(request))
    cases = []
    for name, precision, batch in itertools.product(names, request.precisions, request.batches):
        before = resident_bytes()
        try:
            backend = open_backend(bundle, name, request.threads, precision=precision, largest_batch=batch)
        except InputError as error:
            if not several:
                raise
            _LOG.warning("left out: %s, %s: %s", name, precision, error)
            continue
        stack.callback(backend.close)
        for images in image_sets:
            case = _Case(batch, images, backend.describe(), Pipeline(backend, bundle), 0)
            case.run(counts=False)
            case.memory_bytes = resident_bytes() - before
            cases.append(case)
            backends.append(backend)
    if not cases:
        raise InputError(f"{request.model}: none of the backends {', '.join(names)} can run it here")
    return cases


def _image_sets(request: BenchRequest) -> list[list[np.ndarray]]:
    """The first images of the source, or of a drive at every size."""
    if request.source is None:
        drives = [Drive(DriveSettings(frames=IMAGES, height=h, width=w)) for h, w in request.image_sizes]
        return [[frame.image for frame in drive.frames()] for drive in drives]
    images = [frame.image for frame in itertools.islice(open_source(request.source), IMAGES)]
    if not images:
        raise InputError(f"{request.source}: holds no image")
    return [images]
