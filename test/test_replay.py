"""Offline and live scores of one recording, side by side."""

import json

import numpy as np
import pytest

from wsperception import replay
from wsperception.replay import ReplayScores, comparison_table
from wsperception.rle import encode
from wsperception.ros.demo import LiveReport, read_report

SIZE = (20, 30)


def line(frame: int, left: int) -> str:
    """A car of 10 x 10 pixels at column `left`, track 1."""
    mask = np.zeros(SIZE, bool)
    mask[5:15, left : left + 10] = True
    return f"{frame} 1001 1 {SIZE[0]} {SIZE[1]} {encode(mask).decode()}\n"


@pytest.fixture
def recording(tmp_path):
    """Ten frames of a car. Offline finds it in all; live, frames 3 and 7 did not come out."""
    every = [line(frame, frame) for frame in range(10)]
    for name, lines in (("gt", every), ("offline", every), ("live", [*every[:3], *every[4:7], *every[8:]])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0001.txt").write_text("".join(lines))
    values = {
        "published": 10,
        "received": 8,
        "missing": [3, 7],
        "latency_ms": {"p50": 31.0, "p95": 40.4, "p99": 50.6},
        "node": {"images dropped": "1"},
    }
    (tmp_path / "live/0001.json").write_text(json.dumps(values))
    return tmp_path


def test_frames_that_did_not_come_out_cost_score(recording):
    pytest.importorskip("trackeval")
    live = read_report(recording / "live", "0001")
    assert live == LiveReport(recording / "live", "0001", 10, 8, (3, 7), {"p50": 31.0, "p95": 40.4, "p99": 50.6}, 1)
    scores = replay.compare(
        recording / "nowhere", recording / "gt", live, "none", recording / "out", offline=recording / "offline"
    )
    assert scores.offline_scores["car"]["sMOTSA"] == pytest.approx(100.0)
    assert scores.live_scores["car"]["sMOTSA"] == pytest.approx(80.0)  # 8 of 10 found, none wrong
    written = json.loads((recording / "out/replay.json").read_text())
    assert written["live"]["missing"] == [3, 7] and written["live_scores"]["car"]["sMOTSA"] == pytest.approx(80.0)
    assert (recording / "out/scores_live/report.html").is_file()
    table = (recording / "out/replay.txt").read_text()
    assert "live: 8 of 10 frames came out, 2 did not (1 dropped by the busy node)" in table


def test_the_table_by_hand():
    live = LiveReport("live", "0001", 10, 8, (3, 7), {"p50": 31.0, "p95": 40.4, "p99": 50.6}, 2)
    offline_scores = {"car": {"sMOTSA": 71.25, "IDS": 2, "HOTA": None}}
    table = comparison_table(ReplayScores(live, offline_scores, {"car": {"sMOTSA": 69.0, "IDS": 3, "HOTA": None}}))
    assert table.splitlines() == [
        "class        measure   offline     live",
        "car          sMOTSA       71.2     69.0",
        "car          IDS             2        3",
        "car          HOTA            -        -",
        "live: 8 of 10 frames came out, 2 did not (2 dropped by the busy node)",
        "from image to recorded result: p50 31 ms, p95 40 ms, p99 51 ms",
    ]


def test_a_class_that_only_one_path_has_and_no_latency():
    live = LiveReport("live", "0001", 0, 0, (), {})
    table = comparison_table(ReplayScores(live, {"car": {"HOTA": 1.0}}, {}))
    assert "car          HOTA          1.0        -" in table and "p50" not in table
    assert table.splitlines()[-1] == "live: 0 of 0 frames came out, 0 did not"


def test_a_wrong_source_is_one_line_and_exit_2(recording, caplog):
    arguments = ["--source", recording / "nowhere", "--live", recording / "live", "--gt", recording / "gt"]
    status = replay.main([*map(str, arguments), "--out", str(recording / "out"), "--sequence", "0001"])
    assert status == 2 and "no such file or folder" in caplog.text
