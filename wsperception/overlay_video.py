"""An overlay video written beside the path, on a thread of its own."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from wsperception.overlay import draw_overlay
from wsperception.pipeline import Result
from wsperception.types import LabelSpace
from wsperception.video import VideoWriter

_WAITING_FRAMES = 8  # bounded: a slow encoder slows the path instead of filling the memory


@contextmanager
def overlay_video(
    path: Path, size: tuple[int, int], rate_hz: float, labels: LabelSpace
) -> Iterator[Callable[[Result], None]]:
    """A function that takes results in order; another thread draws and encodes them into the MP4 file `path`.

    size  (H, W) of the frames

    The function waits while the thread is far behind, and raises what went wrong there: OSError on a full disk.
    Leaving the block waits for the rest; leaving it by an error leaves no file.
    """
    with VideoWriter(path, size, rate_hz) as writer, ThreadPoolExecutor(1, "overlay") as executor:
        waiting: deque[Future[None]] = deque()

        def write(result: Result) -> None:
            frame = result.frame
            caption = f"{frame.source}  frame {frame.index}"
            writer.write(draw_overlay(frame.image, result.segments, labels, caption))

        def add(result: Result) -> None:
            if len(waiting) == _WAITING_FRAMES:
                waiting.popleft().result()
            waiting.append(executor.submit(write, result))

        try:
            yield add
            for future in waiting:
                future.result()
        finally:
            executor.shutdown(cancel_futures=True)
