"""Who may speak to the labelling server: its own page on this machine, and nobody else.

A page of another site can make a browser send requests here (CSRF), and can give its own name the address 127.0.0.1
(DNS rebinding). Both show in the headers, which a page cannot forge.
"""

from email.message import Message

NAMES = ("127.0.0.1", "localhost")
LARGEST_BODY = 4 * 1024 * 1024
"""Bytes of a request: some 40000 boxes."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every answer."""


def refusal(headers: Message, port: int, opens_page: bool = False) -> str:
    """Why a request is refused; empty if it is not.

    opens_page  the page itself is asked for, which holds no label: a link elsewhere, as in a terminal that is itself
                a web page, may lead to it, but no other page may take it in

    Host must be this machine and port; Origin, where there is one, must be our own page; a browser that says where a
    request comes from (Sec-Fetch-Site) must name our page or its user.
    """
    hosts = headers.get_all("Host") or []
    if len(hosts) != 1 or hosts[0] not in [f"{name}:{port}" for name in NAMES]:
        return "Host: expected this machine"
    if any(origin not in [f"http://{name}:{port}" for name in NAMES] for origin in headers.get_all("Origin") or []):
        return "Origin: expected the labelling page"
    if opens_page and headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document":
        return ""
    if any(site not in ("same-origin", "none") for site in headers.get_all("Sec-Fetch-Site") or []):
        return "Sec-Fetch-Site: expected same-origin"
    return ""


def body_problem(headers: Message) -> tuple[int, str]:
    """(HTTP status, what is wrong) with the announced body of a request that changes something; (0, "") if nothing."""
    lengths = headers.get_all("Content-Length") or []
    if headers.get("Transfer-Encoding") is not None or len(lengths) != 1 or not _is_count(lengths[0]):
        return 411, "Content-Length: expected one number"
    if int(lengths[0]) > LARGEST_BODY:
        return 413, f"Content-Length: expected at most {LARGEST_BODY} bytes"
    # A form of another site cannot send this type without being asked first, which we do not answer.
    if (headers.get("Content-Type") or "").partition(";")[0].strip().lower() != "application/json":
        return 415, "Content-Type: expected application/json"
    return 0, ""


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16
