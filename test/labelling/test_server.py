"""The real server over real sockets: what the page gets, and what everybody else does not."""

import http.client
import json
import os
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from moving_square import SHIFT, SQUARE

from wsperception.data.label_file import read_label_file
from wsperception.errors import InputError
from wsperception.labelling.access import LARGEST_BODY, SECURITY_HEADERS
from wsperception.labelling.server import LabelServer
from wsperception.labelling.store import LabelStore

BOX = {"class": "car", "id": 1, "box": [1, 2, 30, 40]}
SENT = {"tags": None, "boxes": [BOX], "points": None, "ignore": None, "seconds": {}, "revision": 0}
JSON = {"Content-Type": "application/json"}


def ask(server, method, address, content=None, headers=()) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and content of the answer to one request; the address goes out exactly as given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        named = {name for name, _ in headers}
        connection.putrequest(method, address, skip_host="Host" in named, skip_accept_encoding=True)
        data = None if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
        sent = list(headers)
        if data is not None and "Content-Length" not in named:
            sent.append(("Content-Length", str(len(data))))
        if data is not None and "Content-Type" not in named:
            sent.append(("Content-Type", "application/json"))
        for name, value in sent:
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_the_page_and_its_files(server):
    for address, kind, part in [
        ("/", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("/page/main.js", "text/javascript; charset=utf-8", b"import"),
        ("/page/style.css", "text/css; charset=utf-8", b"--accent"),
        ("/page/icon.svg", "image/svg+xml", b"<svg"),
    ]:
        status, headers, content = ask(server, "GET", address)
        assert (status, headers["Content-Type"]) == (200, kind)
        assert part in content


def test_every_answer_has_the_security_headers(server):
    for method, address in [("GET", "/"), ("GET", "/nowhere"), ("GET", "/images/0"), ("DELETE", "/"), ("PUT", "/")]:
        _, headers, _ = ask(server, method, address)
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "python" not in (headers["Server"] or "").lower()
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy


def test_labels_are_read_and_saved(server, folder):
    overview = json.loads(ask(server, "GET", "/api/labels")[2])
    assert overview["classes"] == ["car", "pedestrian"] and overview["image_size"] == [120, 200]
    assert [frame["number"] for frame in overview["frames"]] == [0, 5]
    status, _, content = ask(server, "PUT", "/api/frames/5", SENT)
    assert status == 200 and json.loads(content)["revision"] == 1
    assert read_label_file(folder).frames[1].boxes[0].box == (1.0, 2.0, 30.0, 40.0)
    assert json.loads(ask(server, "GET", "/api/frames/5")[2])["boxes"] == [{**BOX, "box": [1.0, 2.0, 30.0, 40.0]}]


def test_a_second_tab_gets_409_and_what_is_there(server):
    assert ask(server, "PUT", "/api/frames/0", SENT)[0] == 200
    status, _, content = ask(server, "PUT", "/api/frames/0", {**SENT, "boxes": []})
    answer = json.loads(content)
    assert status == 409
    assert answer["error"] == "frame 0 was changed elsewhere"
    assert answer["frame"]["revision"] == 1 and len(answer["frame"]["boxes"]) == 1


def test_images_and_thumbs(server, folder):
    status, headers, content = ask(server, "GET", "/images/5")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert content == (folder / "images/000005.png").read_bytes()
    status, headers, content = ask(server, "GET", "/thumbs/5")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape == (56, 93, 3)


def test_carry(server):
    inside = [60.0, 50.0]
    order = {"from": 0, "to": 5, "boxes": [SQUARE, [190, 100, 200, 120]], "points": [inside]}
    status, _, content = ask(server, "POST", "/api/carry", order)
    answer = json.loads(content)
    assert status == 200 and answer["boxes_found"][0] and answer["points_found"] == [True]
    assert answer["boxes"][0] == pytest.approx([a + b for a, b in zip(SQUARE, SHIFT * 2, strict=True)], abs=0.5)
    assert answer["points"][0] == pytest.approx([inside[0] + SHIFT[0], inside[1] + SHIFT[1]], abs=0.5)
    for wrong in (
        {**order, "to": 6},
        {**order, "boxes": 3},
        {**order, "points": [[1]]},
        {"from": 0},
        [],
        {**order, "from": "0"},
    ):
        assert ask(server, "POST", "/api/carry", wrong)[0] in (400, 404)


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "evil.example")],
        [("Host", "evil.example:{port}")],
        [("Host", "127.0.0.1.evil.example:{port}")],
        [("Host", "127.0.0.1")],
        [("Host", "127.0.0.1:1")],
        [("Host", "")],
        [("Host", "127.0.0.1:{port}"), ("Host", "evil.example")],
        [("Origin", "http://evil.example")],
        [("Origin", "null")],
        [("Origin", "http://127.0.0.1:1")],
        [("Origin", "https://127.0.0.1:{port}")],
        [("Origin", "http://127.0.0.1:{port}.evil.example")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
    ],
)
def test_strangers_are_refused(server, folder, headers):
    headers = [(name, value.format(port=server.server_port)) for name, value in headers]
    before = (folder / "labels.json").read_bytes()
    for method, address, content in [
        ("GET", "/", None),
        ("GET", "/images/0", None),
        ("GET", "/api/labels", None),
        ("PUT", "/api/frames/0", SENT),
        ("POST", "/api/carry", {}),
    ]:
        status, _, answer = ask(server, method, address, content, headers)
        assert status == 403
        assert set(json.loads(answer)) == {"error"}
    assert (folder / "labels.json").read_bytes() == before


def test_our_own_page_is_not(server):
    for name in ("127.0.0.1", "localhost"):
        own = [("Host", f"{name}:{server.server_port}"), ("Origin", f"http://{name}:{server.server_port}")]
        assert ask(server, "GET", "/", None, [*own, ("Sec-Fetch-Site", "same-origin")])[0] == 200
    assert ask(server, "GET", "/", None, [("Sec-Fetch-Site", "none")])[0] == 200


def test_a_link_elsewhere_leads_to_the_page_and_no_further(server):
    link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
    assert ask(server, "GET", "/", None, link)[0] == 200
    assert ask(server, "GET", "/", None, [*link[:2], ("Sec-Fetch-Dest", "iframe")])[0] == 403
    assert ask(server, "GET", "/", None, [*link, ("Host", "evil.example")])[0] == 403
    for address in ("/images/0", "/api/labels", "/page/main.js"):
        assert ask(server, "GET", address, None, link)[0] == 403
    assert ask(server, "PUT", "/api/frames/0", SENT, link)[0] == 403


def test_a_request_without_a_host_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        connection.sendall(b"GET /api/labels HTTP/1.0\r\n\r\n")
        assert b" 403 " in connection.makefile("rb").readline()


@pytest.mark.parametrize(
    "address",
    [
        "/images/../labels.json",
        "/images/%2e%2e/labels.json",
        "/images/..%2flabels.json",
        "/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/images//etc/passwd",
        "//etc/passwd",
        "/images/%2fetc%2fpasswd",
        "/images/0%00",
        "/images/0.png",
        "/images/000000.png",
        "/images/-1",
        "/images/0x0",
        "/images/٣",
        "/images/99999999999",
        "/images/7",
        "/images/",
        "/images/0/",
        "/images/0?x=1",
        "/page/../server.py",
        "/page/%2e%2e/server.py",
        "/page/server.py",
        "/page/MAIN.js",
        "/labels.json",
        "/.lock",
        "/api/frames/7",
        "/api/frames/0/..",
        "/favicon.ico",
        "http://127.0.0.1/images/0",
        "*",
    ],
)
def test_no_other_address_leads_anywhere(server, address):
    data = address.encode()
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        host = f"127.0.0.1:{server.server_port}".encode()
        connection.sendall(b"GET " + data + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer[:80]
    assert b"root:" not in answer and b"wsperception weak labels" not in answer


def test_links_out_of_the_folder_are_not_followed(server, folder, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    image = folder / "images/000005.png"
    image.unlink()
    image.symlink_to(secret)
    for address in ("/images/5", "/thumbs/5"):
        status, _, content = ask(server, "GET", address)
        assert status == 400 and b"secret" not in content and b"cannot be read" in content
    (folder / "images").rename(tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    status, _, content = ask(server, "GET", "/images/0")
    assert status == 400 and b"lies outside the folder" in content


def test_an_image_that_is_gone_or_damaged(server, folder):
    (folder / "images/000000.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (folder / "images/000005.png").unlink()
    assert ask(server, "GET", "/thumbs/0")[0] == 400
    assert ask(server, "GET", "/images/5")[0] == 400
    assert ask(server, "POST", "/api/carry", {"from": 0, "to": 5, "boxes": [], "points": []})[0] == 400


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("POST", "/api/frames/0", 405),
        ("PUT", "/api/labels", 405),
        ("GET", "/api/carry", 405),
        ("PUT", "/images/0", 405),
        ("POST", "/", 405),
        ("DELETE", "/api/frames/0", 501),
        ("HEAD", "/", 501),
        ("OPTIONS", "/api/frames/0", 501),
        ("TRACE", "/", 501),
        ("PATCH", "/api/frames/0", 501),
        ("CONNECT", "/", 501),
    ],
)
def test_methods(server, method, address, status):
    content = SENT if method in ("PUT", "POST") else None
    assert ask(server, method, address, content)[0] == status


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (SENT, [("Content-Type", "text/plain")], 415),
        (SENT, [("Content-Type", "application/x-www-form-urlencoded")], 415),
        (SENT, [("Content-Type", "application/json; charset=utf-8")], 200),
        (b"", [("Content-Length", str(LARGEST_BODY + 1))], 413),
        (b"", [("Content-Length", "9" * 30)], 411),
        (b"", [("Content-Length", "-1")], 411),
        (b"", [("Content-Length", "+5")], 411),
        (b"", [("Content-Length", "0"), ("Content-Length", "0")], 411),
        (b"", [("Content-Length", "0"), ("Transfer-Encoding", "chunked")], 411),
        (b"", [], 400),
        (b"[" * 200000, [], 400),
        (b"{", [], 400),
        (b"\xff", [], 400),
        (b'{"a": ' + b"9" * 5000 + b"}", [], 400),
        (b"null", [], 400),
        ({**SENT, "revision": "0"}, [], 400),
        ({**SENT, "boxes": [{**BOX, "box": [1, 2, 3, float("nan")]}]}, [], 400),
        ({**SENT, "boxes": [{**BOX, "class": "<script>"}]}, [], 400),
    ],
)
def test_what_is_sent(server, folder, content, headers, status):
    got, answer_headers, answer = ask(server, "PUT", "/api/frames/0", content, headers)
    assert got == status
    assert answer_headers["Content-Type"] == "application/json; charset=utf-8"
    if status != 200:
        assert set(json.loads(answer)) == {"error"}
        assert read_label_file(folder).frames[0].revision == 0


def test_a_get_with_content_is_refused(server):
    assert ask(server, "GET", "/", b"x")[0] == 400


def test_long_lines_and_many_headers(server):
    assert ask(server, "GET", "/" + "a" * 70000)[0] == 414
    assert ask(server, "GET", "/", None, [(f"X-{n}", "1") for n in range(200)])[0] == 431


def test_a_client_that_stops_in_the_middle_disturbs_nobody(server):
    connection = socket.create_connection(("127.0.0.1", server.server_port), timeout=60)
    host = f"127.0.0.1:{server.server_port}"
    head = (
        f"PUT /api/frames/0 HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    )
    connection.sendall(head.encode() + b'{"tags"')
    assert ask(server, "PUT", "/api/frames/0", SENT)[0] == 200
    connection.close()
    assert ask(server, "GET", "/api/frames/0")[0] == 200


def test_one_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    for revision in range(3):
        connection.request("PUT", "/api/frames/0", json.dumps({**SENT, "revision": revision}), JSON)
        assert json.loads(connection.getresponse().read())["revision"] == revision + 1
    connection.close()


def test_it_listens_on_this_machine_only(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_a_port_in_use(server, folder):
    store = LabelStore(folder, read_label_file(folder))
    with pytest.raises(InputError, match=f"port {server.server_port}: is in use already; name another with --port"):
        LabelServer(store, server.server_port)


def test_every_file_of_the_page_is_installed(server):
    names = {path.name for path in (Path(__file__).parents[2] / "wsperception/labelling/static").iterdir()}
    assert names == set(server.routes._page)
    assert all(os.path.splitext(name)[1] in (".html", ".css", ".js", ".svg") for name in names)
