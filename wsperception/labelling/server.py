"""The labelling server: HTTP on 127.0.0.1, for one page of one person."""

import errno
import logging
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from wsperception.errors import InputError
from wsperception.labelling.access import SECURITY_HEADERS, body_problem, refusal
from wsperception.labelling.routes import Reply, Routes, problem
from wsperception.labelling.store import LabelStore

_LOG = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
_SILENCE_S = 60.0  # after which a connection on which nothing comes is closed


class LabelServer(ThreadingHTTPServer):
    """Serves the page and the labels of `store` on `port` of this machine; 0 lets the system choose one.

    Raises InputError where the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, store: LabelStore, port: int = 0) -> None:
        self.store = store
        self.routes = Routes(store)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            why = "is in use already" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror}"
            raise InputError(f"port {port}: {why}; name another with --port, or leave it out") from None

    def server_bind(self) -> None:
        """Without http.server's question to the name service, which nobody needs here."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, int(self.server_address[1])

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A tab that was closed in the middle of an answer is no error; anything else is one of ours."""
        error = sys.exc_info()[1]
        if isinstance(error, (ConnectionError, TimeoutError)):
            _LOG.debug("connection lost: %s", error)
        else:
            _LOG.error("a request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "wsperception", ""
    timeout = _SILENCE_S

    def do_GET(self) -> None:
        why = refusal(self.headers, self.server.server_port, opens_page=self.path == "/")
        if why or self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self._close_with(problem(403, why) if why else problem(400, "expected no content"))
            return
        self._send(self.server.routes.answer("GET", self.path, b""))

    def do_PUT(self) -> None:
        self._change()

    def do_POST(self) -> None:
        self._change()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses (a method, a line too long), in our form and with our headers."""
        self._close_with(problem(int(code), message or "refused"))

    def log_message(self, format: str, *arguments: Any) -> None:
        _LOG.debug(format, *arguments)

    def _change(self) -> None:
        why = refusal(self.headers, self.server.server_port)
        status, what = (403, why) if why else body_problem(self.headers)
        if status:
            self._close_with(problem(status, what))
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(self.server.routes.answer(self.command, self.path, body))

    def _close_with(self, reply: Reply) -> None:
        """An answer after which the connection ends: the content of the request was not read."""
        self.close_connection = True
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.content)))
        for name, value in SECURITY_HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.content)
