"""The labelling server in a thread of the tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsperception.data.label_file import read_label_file
from wsperception.labelling.server import LabelServer
from wsperception.labelling.store import LabelStore


@contextmanager
def running_server(folder: Path) -> Iterator[LabelServer]:
    """The server of the labels in `folder`, on a port of its own."""
    with LabelServer(LabelStore(folder, read_label_file(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
