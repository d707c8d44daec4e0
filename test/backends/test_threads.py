"""Threads of the CPU engines."""

import os

import pytest

from wsperception.backends import threads
from wsperception.backends.threads import default_threads
from wsperception.errors import InputError


def test_the_environment_decides_first(monkeypatch):
    monkeypatch.setenv("WSPERCEPTION_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.setenv("WSPERCEPTION_THREADS", "0")
    with pytest.raises(InputError, match="WSPERCEPTION_THREADS: expected a number >= 1, got '0'"):
        default_threads()


def test_the_machine_decides_else(monkeypatch):
    monkeypatch.delenv("WSPERCEPTION_THREADS", raising=False)
    assert 1 <= default_threads() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("siblings", "quota", "expected"),
    [
        ({0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5", 6: "2,6"}, "max 100000", 3),  # 0 and 4 share a core, 1 and 5, 6 alone
        ({0: "0", 1: "1", 2: "2"}, "150000 100000", 2),  # a share of 1.5 processors, rounded up
        ({0: "", 1: ""}, "", 2),  # a kernel that does not tell: every processor is a core
        ({7: "7"}, "50000 100000", 1),
    ],
)
def test_cores_are_counted_once_and_the_container_limits(monkeypatch, siblings, quota, expected):
    def read(path):
        if path.name == "cpu.max":
            return quota
        return siblings[int(path.parts[5].removeprefix("cpu"))]

    monkeypatch.delenv("WSPERCEPTION_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(siblings), raising=False)
    monkeypatch.setattr(threads, "_read", read)
    assert default_threads() == expected
