"""A headless Chromium driven over the DevTools protocol: as much of it as the tests of the page need."""

import base64
import contextlib
import json
import os
import queue
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60.0  # a loaded machine is slow
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--mute-audio",
    "--remote-debugging-port=0",
    "--window-size=1400,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing outside this machine has a name
)
MODIFIERS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}
NAMED_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39, "Delete": 46}


def find_browser() -> str | None:
    """The path of an installed Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class WebSocket:
    """RFC 6455, as a client, for text messages."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._stream = self._socket.makefile("rb")
        assert b" 101 " in self._stream.readline()
        while self._stream.readline() != b"\r\n":
            pass
        self._socket.settimeout(None)

    def send(self, text: str) -> None:
        data, mask = text.encode(), os.urandom(4)
        length = len(data)
        size = (
            bytes([0x80 | length])
            if length < 126
            else struct.pack(
                "!BH" if length < 2**16 else "!BQ", *((0xFE, length) if length < 2**16 else (0xFF, length))
            )
        )
        repeated = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
        self._socket.sendall(b"\x81" + size + mask + masked)

    def messages(self) -> Iterator[str]:
        """Messages until the connection ends."""
        parts = b""
        while head := self._stream.read(2):
            length = head[1] & 0x7F
            if length > 125:
                length = int.from_bytes(self._stream.read(2 if length == 126 else 8), "big")
            data = self._stream.read(length)
            if head[0] & 0x0F in (0, 1):  # text and its continuation; no browser pings here
                parts += data
                if head[0] & 0x80:
                    yield parts.decode()
                    parts = b""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class ProtocolError(Exception):
    """The browser refused a call, as while it goes to another page."""


class Connection:
    """Calls to one target of the browser, and what it reports."""

    def __init__(self, url: str) -> None:
        self._socket = WebSocket(url)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._count = 0
        self.events: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for text in self._socket.messages():
                message = json.loads(text)
                if "id" in message:
                    self._answers[message["id"]].put(message)
                else:
                    self.note(message)

    def note(self, event: dict[str, Any]) -> None:
        """Takes in what the target reports."""
        self.events.append(event)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a call; ProtocolError where the browser refuses it."""
        self._count += 1
        number = self._count
        self._answers[number] = queue.Queue()
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        answer = self._answers[number].get(timeout=PATIENCE_S)
        if "error" in answer:
            raise ProtocolError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        self._socket.close()


class Page(Connection):
    """One page in a window."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def note(self, event: dict[str, Any]) -> None:
        """Says yes to every question, as whether to leave the page; from elsewhere, as this thread reads the answer."""
        super().note(event)
        if event["method"] == "Page.javascriptDialogOpening":
            accept = {"accept": True}
            threading.Thread(target=self.call, args=("Page.handleJavaScriptDialog",), kwargs=accept).start()

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        stop = time.monotonic() + PATIENCE_S
        while time.monotonic() < stop:
            with contextlib.suppress(ProtocolError):
                if value := self.evaluate(script):
                    return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait_for("document.body?.dataset.ready === 'yes'")

    def reload(self) -> None:
        """Loads the page anew."""
        self.evaluate("document.body.dataset.ready = 'no'")
        self.call("Page.reload")
        self.wait_for("document.body?.dataset.ready === 'yes'")

    def mouse(self, kind: str, x: float, y: float, modifiers: str = "", button: str = "left") -> None:
        held = kind != "mouseReleased" and kind != "hover"
        self.call(
            "Input.dispatchMouseEvent",
            type="mouseMoved" if kind == "hover" else kind,
            x=x,
            y=y,
            button="none" if kind == "hover" else button,
            buttons=1 if held else 0,
            clickCount=0 if kind in ("mouseMoved", "hover") else 1,
            modifiers=MODIFIERS.get(modifiers, 0),
        )

    def click(self, x: float, y: float) -> None:
        self.mouse("hover", x, y)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def drag(self, start: tuple[float, float], end: tuple[float, float], modifiers: str = "") -> None:
        self.mouse("hover", *start, modifiers)
        self.mouse("mousePressed", *start, modifiers)
        for step in (0.3, 0.7, 1.0):
            x, y = (a + (b - a) * step for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y, modifiers)
        self.mouse("mouseReleased", *end, modifiers)

    def key(self, key: str, *held: str) -> None:
        """Presses and releases a key: a letter, a digit, a sign, or a name such as Delete."""
        code = f"Digit{key}" if key.isdecimal() else f"Key{key.upper()}" if len(key) == 1 and key.isalpha() else key
        modifiers = sum(MODIFIERS[name] for name in held)
        number = NAMED_KEYS.get(key) or ord(key.upper())
        shared = {"key": key, "code": code, "modifiers": modifiers, "windowsVirtualKeyCode": number}
        text = {"text": key} if len(key) == 1 and "Control" not in held else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **shared, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """What the console says at level error or warning, and exceptions that nobody caught."""
        found = []
        for event in self.events:
            details = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(details["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
                found.append(str(details["args"]))
            elif event["method"] == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
                found.append(details["entry"]["text"])
        return found

    def requested(self) -> list[str]:
        """Addresses that the page has asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def settle(self) -> None:
        """Waits until what was drawn last is on the screen."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


class Browser:
    """A headless Chromium with a profile of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        self._log = (profile.parent / "browser.log").open("wb")
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=self._log, stderr=self._log
        )
        port_file, stop = profile / "DevToolsActivePort", time.monotonic() + PATIENCE_S
        while not port_file.exists() or "\n" not in port_file.read_text():
            assert self._process.poll() is None and time.monotonic() < stop, "the browser did not start"
            time.sleep(0.1)
        port, path = port_file.read_text().split()
        self._address = f"ws://127.0.0.1:{port}/devtools"
        self._control = Connection(f"ws://127.0.0.1:{port}{path}")
        self._pages: list[Page] = []

    def new_page(self) -> Page:
        """A page in a window of its own: one in the background would not be drawn."""
        wanted = {"url": "about:blank", "newWindow": True, "width": 1400, "height": 900}
        target = self._control.call("Target.createTarget", **wanted)["targetId"]
        page = Page(f"{self._address}/page/{target}")
        self._pages.append(page)
        return page

    def close(self) -> None:
        for connection in (*self._pages, self._control):
            connection.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@contextlib.contextmanager
def label_server(arguments: list[str], log: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """`wsperception label` as a process of its own: (address of the page, process)."""
    import sys

    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "wsperception", "label", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert match, line + log.read_text()
            yield match[0], process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
