"""The labelling page on a desk: places of the image for the hand, and the label file behind the page."""

import json
from dataclasses import dataclass
from pathlib import Path

from devtools import Page

from wsperception.data.label_file import FrameLabels, read_label_file


@dataclass
class Desk:
    """The page, open on the first frame, and what lies behind it."""

    page: Page
    url: str
    folder: Path

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place in the window of a place in the image."""
        script = (
            "(() => { const c = document.getElementById('canvas'); const b = c.getBoundingClientRect();"
            " return [b.left, b.top, +c.dataset.x, +c.dataset.y, +c.dataset.scale] })()"
        )
        self.page.settle()
        left, top, offset_x, offset_y, scale = self.page.evaluate(script)
        return left + offset_x + x * scale, top + offset_y + y * scale

    def click(self, x: float, y: float) -> None:
        self.page.click(*self.at(x, y))

    def drag(self, x0: float, y0: float, x1: float, y1: float, modifiers: str = "") -> None:
        self.page.drag(self.at(x0, y0), self.at(x1, y1), modifiers)

    def saved(self, row: int = 0) -> FrameLabels:
        """The labels of a frame on the disk, once the page says that everything is there."""
        self.page.wait_for("document.getElementById('saved').dataset.state === 'idle'")
        return read_label_file(self.folder).frames[row]

    def boxes(self, row: int = 0) -> list[tuple]:
        """(class, id, whole-pixel box) of a frame on the disk."""
        return [(b.class_name, b.track_id, tuple(map(round, b.box))) for b in self.saved(row).boxes or ()]

    def text(self, selector: str) -> str:
        return self.page.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
