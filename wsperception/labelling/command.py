"""`wsperception label`: a folder of frames and labels made or opened, then served, or labels taken in or handed out."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from wsperception.bundle import read_bundle
from wsperception.data.cvat_labels import cvat_images_text, cvat_video_text, read_cvat
from wsperception.data.label_file import (
    ACTIVITIES,
    FILE_NAME,
    IMAGE_FOLDER,
    LabelFile,
    read_label_file,
    write_label_file,
)
from wsperception.data.label_import import ImportedFrame, with_imported
from wsperception.data.labelme import labelme_texts, read_labelme
from wsperception.data.sources import Source, open_source
from wsperception.data.sources.bag import is_bag
from wsperception.data.sources.folder import image_files
from wsperception.data.sources.kitti import find_sequence, is_kitti_sequence
from wsperception.errors import InputError
from wsperception.labelling.frames import original_names, write_frames
from wsperception.labelling.server import LabelServer
from wsperception.labelling.store import LOCK_NAME, LabelStore, folder_lock
from wsperception.types import LabelSpace

DEFAULT_MODEL = "tiny"

Progress = Callable[[int, int | None], None]
"""Called after every frame with the number of frames so far and the length of the source, None if unknown."""
ProgressBar = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class LabelRequest:
    """What to label, and where.

    source    what `open_source` takes, with `topic` and `sequence`; None: go on in a folder that has labels
    out       folder of the labels and images
    every     only frames whose number is a multiple of it; None: what the folder has, or 1
    classes   names of the classes; None: what the folder has, or those of `model`
    model     folder or name of a bundle; None: tiny
    port      of the page; 0: the system chooses
    jpeg      frames as JPEG instead of PNG
    take_in   CVAT XML or folder of LabelMe files whose labels are taken in; the page is not served then
    hand_out  .xml file (CVAT) or folder (LabelMe) to write; the page is not served then
    video     hand out "CVAT for video" instead of "for images"
    replace   whether labels and files that exist may be replaced by what is taken in and handed out
    """

    source: Path | None
    out: Path
    every: int | None = None
    classes: tuple[str, ...] | None = None
    model: str | None = None
    topic: str | None = None
    sequence: str | None = None
    port: int = 0
    jpeg: bool = False
    take_in: Path | None = None
    hand_out: Path | None = None
    video: bool = False
    replace: bool = False


@dataclass(frozen=True)
class LabelSummary:
    """Where the labels are, how many of the frames have some, and the labelling time by activity in seconds."""

    path: Path
    labelled: int
    frames: int
    seconds: dict[str, float]


def label_command(
    request: LabelRequest, announce: Callable[[str], None], progress: ProgressBar | None = None
) -> LabelSummary:
    """Makes or opens the folder; then takes in or hands out labels, or serves the page until Ctrl-C.

    announce  is given the address of the page when it can be opened
    progress  opens a progress bar of a title, for the time in which frames are written

    Raises InputError for a source without frames, classes that do not fit, a damaged label file (which is left as it
    is), a folder that another process labels, and a port in use; OSError where the disk is full.
    """
    if request.every is not None and request.every < 1:
        raise InputError(f"--every: expected 1 or more, got {request.every}")
    if not 0 <= request.port <= 65535:
        raise InputError(f"--port: expected 0 to 65535, got {request.port}")
    if request.video and (request.hand_out is None or request.hand_out.suffix != ".xml"):
        raise InputError("--video: expected together with --export FILE.xml")
    _check_folder(request)
    with _folder(request.out), folder_lock(request.out) as lock:
        file = _opened(request, progress)
        if request.take_in is not None:
            file = with_imported(file, _imported(request.take_in, file.labels), str(request.take_in), request.replace)
            write_label_file(request.out, file)
        if request.hand_out is not None:
            _hand_out(request, file)
        if request.take_in is None and request.hand_out is None:
            file = _serve(LabelStore(request.out, file), request.port, lock, announce)
    return _summary(request.out, file)


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Makes the folder; what was asked in error leaves none behind that was not there before."""
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except InputError:
        if new and {entry.name for entry in out.iterdir()} <= {LOCK_NAME}:
            shutil.rmtree(out)
        raise


def _serve(store: LabelStore, port: int, lock: Path, announce: Callable[[str], None]) -> LabelFile:
    with LabelServer(store, port) as server:
        lock.write_text(server.url, encoding="utf-8")
        announce(server.url)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:  # the way to end it
            store.wait()
    return store.file


def _check_folder(request: LabelRequest) -> None:
    """A folder that is neither empty nor ours is somebody's."""
    out = request.out
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder for the labels, found a file")
    if (out / FILE_NAME).exists():
        return
    if request.source is None:
        raise InputError(f"{out}: no {FILE_NAME} to go on with; name the SOURCE of the frames")
    ours = {LOCK_NAME, IMAGE_FOLDER, f".{FILE_NAME}.part"}  # of a first run that was interrupted
    if out.is_dir() and {entry.name for entry in out.iterdir()} - ours:
        raise InputError(f"{out}: the folder is not empty and has no {FILE_NAME}; name another")


def _opened(request: LabelRequest, progress: ProgressBar | None) -> LabelFile:
    """The labels of the folder, with frames and classes that it lacks so far."""
    file = read_label_file(request.out) if (request.out / FILE_NAME).exists() else None
    labels = _label_space(request, file)
    every = request.every or (file.every if file else 1)
    source = None
    if request.source is not None:
        source = open_source(request.source, topic=request.topic, sequence=request.sequence)
    if file is not None and source is not None and source.name != file.sequence:
        raise InputError(f"{request.out}: holds the labels of '{file.sequence}', not of '{source.name}'")
    if file is not None and (source is None or every == file.every):
        opened = dataclasses.replace(file, labels=labels)
    else:
        assert source is not None
        opened = _with_frames(request, source, file, labels, every, progress)
    if opened != file:
        write_label_file(request.out, opened)
    return opened


def _with_frames(
    request: LabelRequest,
    source: Source,
    file: LabelFile | None,
    labels: LabelSpace,
    every: int,
    progress: ProgressBar | None,
) -> LabelFile:
    with progress("taking frames") if progress else nullcontext() as show:
        frames, size = write_frames(source, request.out, every, jpeg=request.jpeg, names=_names(request), progress=show)
    if file is None:
        return LabelFile(source.name, source.origin, every, size, labels, frames)
    if size != file.image_size:
        raise InputError(f"{source.origin}: expected images of {file.image_size}, as labelled so far, got {size}")
    merged = {frame.number: frame for frame in (*frames, *file.frames)}
    return dataclasses.replace(
        file, labels=labels, every=every, frames=tuple(merged[number] for number in sorted(merged))
    )


def _names(request: LabelRequest) -> dict[int, str]:
    """The names of a folder's images; none for the other sources, whose frames have numbers only."""
    assert request.source is not None
    if not request.source.is_dir() or is_bag(request.source):
        return {}
    folder = find_sequence(request.source, request.sequence)
    return {} if is_kitti_sequence(folder) else original_names(image_files(folder))


def _label_space(request: LabelRequest, file: LabelFile | None) -> LabelSpace:
    """Of --classes, --model or the file. Classes may be added behind those of the file, so that their ids stay."""
    if request.classes is not None and request.model is not None:
        raise InputError("--classes and --model: expected one of them")
    if request.classes is not None:
        wanted = LabelSpace(request.classes, (True,) * len(request.classes))
    elif request.model is not None or file is None:
        wanted = read_bundle(request.model or DEFAULT_MODEL).label_space
    else:
        return file.labels
    if file is not None and wanted.names[: len(file.labels)] != file.labels.names:
        had = ", ".join(file.labels.names)
        raise InputError(f"classes {', '.join(wanted.names)}: expected {had}, as in {request.out}, then new ones")
    return wanted


def _imported(path: Path, labels: LabelSpace) -> list[ImportedFrame]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected CVAT's XML or a folder of LabelMe files")
    return read_labelme(path, labels) if path.is_dir() else read_cvat(path)


def _hand_out(request: LabelRequest, file: LabelFile) -> None:
    target = request.hand_out
    assert target is not None
    if target.suffix == ".xml":
        texts = {target: cvat_video_text(file) if request.video else cvat_images_text(file)}
    else:
        target.mkdir(parents=True, exist_ok=True)
        place = os.path.relpath(request.out.resolve(), target.resolve())
        texts = {target / name: text for name, text in labelme_texts(file, place).items()}
    existing = [path for path in texts if path.exists()]
    if existing and not request.replace:
        raise InputError(f"{existing[0]}: exists already; --overwrite replaces it")
    for path, text in texts.items():
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def _summary(folder: Path, file: LabelFile) -> LabelSummary:
    seconds = {name: sum(frame.seconds.get(name, 0.0) for frame in file.frames) for name in ACTIVITIES}
    labelled = sum(bool(frame.annotated) for frame in file.frames)
    return LabelSummary(folder / FILE_NAME, labelled, len(file.frames), seconds)
