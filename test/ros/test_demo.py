"""The demonstration as a user runs it, with its last step over live topics."""

import json
from pathlib import Path

import pytest

from wsperception.bundle import ModelBundle
from wsperception.cli import main

pytest.importorskip("trackeval", reason="the package 'trackeval' is not installed")


def test_the_demonstration_goes_over_topics(
    tmp_path: Path, constant_bundle: ModelBundle, capsys: pytest.CaptureFixture
):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--model", str(constant_bundle.folder), "--frames", "5"]) == 0
    printed = capsys.readouterr().out
    assert "the same drive, offline and live over ROS 2 topics" in printed
    assert "of 5 frames came out" in printed
    report = json.loads((out / "live/replay.json").read_text())
    assert report["live"]["published"] == 5
    assert report["live"]["received"] >= 1
    assert report["offline_scores"].keys() == report["live_scores"].keys()
