"""The path run over a sequence, and its files: MOTS text, overlay video, timings; of panoptic models, all segments."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import yaml

from wsperception.backends import open_backend
from wsperception.bundle import ModelBundle, read_bundle
from wsperception.data.coco_panoptic_writer import PanopticWriter
from wsperception.data.sources import SkippedFrame, Source, open_source
from wsperception.errors import InputError
from wsperception.overlay_video import overlay_video
from wsperception.pipeline import Pipeline, PipelineSettings, Result, default_settings
from wsperception.rle import write_mots_lines
from wsperception.settings import from_mapping, to_mapping
from wsperception.stage_times import StageTimes

OVERLAY_NAME, TIMINGS_NAME, PANOPTIC_NAME = "overlay.mp4", "timings.json", "panoptic"
_LISTED_SKIPS = 100

Progress = Callable[[int, int | None], None]
"""Called after every frame with the number of frames so far and the length of the source, None if unknown."""


@dataclass(frozen=True)
class TrackRequest:
    """What to track, with what, and where to write.

    source    what `open_source` takes; `topic`, `sequence` and `rate_hz` are handed to it
    model     folder or name of a bundle
    out       folder of the results; made, with its parents, when everything is done
    backend   name of the engine, or auto
    threads   CPU threads of the engine; None: its choice
    settings  YAML file of PipelineSettings, whose values go over the model's own
    video     whether to write the overlay
    replace   whether files of an earlier run in `out` may be replaced
    """

    source: Path
    model: str
    out: Path
    topic: str | None = None
    sequence: str | None = None
    rate_hz: float | None = None
    backend: str = "auto"
    threads: int | None = None
    settings: Path | None = None
    video: bool = True
    replace: bool = False

    def as_record(self) -> dict[str, Any]:
        """What decides the results, apart from the model's content: plain values for timings.json."""
        settings = self.settings.read_text(encoding="utf-8") if self.settings is not None else ""
        return {
            "source": str(self.source.resolve()),
            "topic": self.topic,
            "sequence": self.sequence,
            "rate_hz": self.rate_hz,
            "backend": self.backend,
            "settings": settings,
            "video": self.video,
        }


@dataclass(frozen=True)
class TrackSummary:
    """What a run gave: its files, how many frames were used, and which were not.

    video is None where none was asked for, panoptic (COCO's JSON, beside its PNG files) where the model knows no stuff;
    seconds counts from the first frame's reading to the last file's end.
    """

    sequence: str
    text: Path
    video: Path | None
    timings: Path
    frames: int
    skipped: tuple[SkippedFrame, ...]
    seconds: float
    panoptic: Path | None = None


def run_track(request: TrackRequest, progress: Progress | None = None) -> TrackSummary:
    """Tracks a sequence and writes `<sequence>.txt`, `overlay.mp4` and `timings.json` into `request.out`.

    A panoptic model's segments, stuff as well as things, are written besides: `panoptic/<sequence>.json` and its PNG
    files (see PanopticWriter), which `wsperception eval --format coco-panoptic` reads.

    Frames are read, worked on and written one by one: memory does not grow with the length. Files appear in `out`
    only when all are complete; on an error nothing is left. Raises InputError naming what is wrong with the source,
    the model, a setting or the folder, and OSError where the disk is full.
    """
    _check_out(request.out, request.replace)
    source = open_source(request.source, topic=request.topic, sequence=request.sequence, rate_hz=request.rate_hz)
    bundle = read_bundle(request.model)
    settings = read_pipeline_settings(request.settings, bundle)
    backend = open_backend(bundle, request.backend, request.threads)
    try:
        with _appearing_folder(request.out.resolve()) as folder:
            run = _Run(source, bundle, Pipeline(backend, bundle, settings))
            start = time.perf_counter()
            run.write(folder, request.video, progress)
            model = {"model": bundle.name, "model_sha256": bundle.sha256}
            engine = {"backend": backend.name, "engine": str(backend.describe()), "request": request.as_record()}
            report = {**model, **engine, **run.report()}
            (folder / TIMINGS_NAME).write_text(json.dumps(report, indent=2) + "\n")
            seconds = time.perf_counter() - start
    finally:
        backend.close()
    return TrackSummary(
        source.name,
        request.out / f"{source.name}.txt",
        request.out / OVERLAY_NAME if request.video else None,
        request.out / TIMINGS_NAME,
        run.frames,
        tuple(source.skipped),
        seconds,
        request.out / PANOPTIC_NAME / f"{source.name}.json" if bundle.is_panoptic else None,
    )


def read_pipeline_settings(path: Path | None, bundle: ModelBundle) -> PipelineSettings:
    """The model's own settings, with the values of a YAML file over them; None: the model's own.

    Raises InputError naming the file and the key.
    """
    defaults = default_settings(bundle)
    if path is None:
        return defaults
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a YAML file of settings") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if values is not None and not isinstance(values, dict):
        raise InputError(f"{path}: expected keys and values, got {type(values).__name__}")
    return from_mapping(PipelineSettings, _merged(to_mapping(defaults), values or {}), str(path))


class _Run:
    """One pass over a source."""

    def __init__(self, source: Source, bundle: ModelBundle, pipeline: Pipeline) -> None:
        self.frames = 0
        self._source, self._bundle, self._pipeline = source, bundle, pipeline
        self._times = StageTimes()
        self._image_size: tuple[int, int] | None = None
        self._broken = 0

    def write(self, folder: Path, video: bool, progress: Progress | None) -> None:
        """Writes the text, and the overlay if `video`, into `folder`."""
        with ExitStack() as stack:
            text = stack.enter_context((folder / f"{self._source.name}.txt").open("w", encoding="ascii"))
            labels, name = self._bundle.label_space, self._source.name
            panoptic: PanopticWriter | None = None
            if self._bundle.is_panoptic:
                panoptic = stack.enter_context(PanopticWriter(folder / PANOPTIC_NAME, name, labels))
            show: Callable[[Result], None] | None = None
            for result in self._results():
                self._write_segments(result, text, panoptic)
                if video:
                    show = show or stack.enter_context(self._open_overlay(folder, result))
                    show(result)
                if progress is not None:
                    progress(self.frames, self._source.length)

    def report(self) -> dict[str, Any]:
        """Content of timings.json that the run knows."""
        skipped = self._source.skipped
        return {
            "source": self._source.origin,
            "sequence": self._source.name,
            "image_size": self._image_size,
            "input_size": self._bundle.input_size,
            "frames": self.frames,
            "skipped": len(skipped),
            "skipped_frames": [{"index": skip.index, "reason": skip.reason} for skip in skipped[:_LISTED_SKIPS]],
            "broken_detections": self._broken,
            "stages_ms": self._times.percentiles(),
        }

    def _results(self) -> Iterator[Result]:
        frames = iter(self._source)
        while True:
            start = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return
            read_ms = (time.perf_counter() - start) * 1e3
            result = self._pipeline(frame)
            self._times.add({"read": read_ms, **result.timings_ms, "total": sum(result.timings_ms.values())})
            self._image_size = frame.image.shape[0], frame.image.shape[1]
            self._broken += result.broken
            self.frames += 1
            yield result

    def _write_segments(self, result: Result, text: TextIO, panoptic: PanopticWriter | None) -> None:
        start = time.perf_counter()
        for line in write_mots_lines(result.frame.index, result.segments, self._bundle.label_space):
            text.write(line + "\n")
        if panoptic is not None:
            panoptic.add(result.frame.index, result.segments)
        self._times.add({"write": (time.perf_counter() - start) * 1e3})

    def _open_overlay(self, folder: Path, first: Result) -> AbstractContextManager[Callable[[Result], None]]:
        height, width = first.segments.ids.shape
        path = folder / OVERLAY_NAME
        return overlay_video(path, (height, width), self._source.rate_hz, self._bundle.label_space)


def _check_out(out: Path, replace: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder for the results, found a file")
    if out.is_dir() and any(out.iterdir()) and not replace:
        raise InputError(f"{out}: the folder exists and is not empty; name another or pass --overwrite")


@contextmanager
def _appearing_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, whose files stand in `out` when the block ends well; else nothing is left of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{out.name}.partial-", dir=out.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it private
        if out.is_dir() and any(out.iterdir()):
            # Only our own files are replaced: `out` may hold other sequences, or anything else.
            (out / OVERLAY_NAME).unlink(missing_ok=True)
            _replace_files(partial, out)
        else:
            os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace_files(source: Path, target: Path) -> None:
    """Moves everything in folder `source` to its place in `target`; what is there from an earlier run goes."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.name == PANOPTIC_NAME and place.is_dir():
            _replace_files(entry, place)  # it may hold other sequences
            continue
        if entry.is_dir() and place.is_dir():
            shutil.rmtree(place)
        os.replace(entry, place)


def _merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`values` with those of `over` in their place, key by key also within mappings."""
    merged = dict(values)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
