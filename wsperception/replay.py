"""The same recording twice: offline, every frame, and live, over topics; both scored, side by side.

    python -m wsperception.replay --source BAG --live out/live --model tiny --gt GT --out out/replay

What the live path loses, in frames and in score, is what a robot loses to timing; the offline score is the model's.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsperception.errors import InputError
from wsperception.evaluation.command import evaluate_command
from wsperception.track import TrackRequest, run_track

if TYPE_CHECKING:
    from wsperception.ros.demo import LiveReport

MEASURES = ("sMOTSA", "MOTSA", "IDS", "HOTA", "DetA", "AssA", "IDF1")
OFFLINE, LIVE, REPORT_NAME, TABLE_NAME = "offline", "live", "replay.json", "replay.txt"


@dataclass(frozen=True)
class ReplayScores:
    """Scores of one recording by both paths.

    live     what the live path lost, and how long it took
    offline_scores, live_scores   class -> measure -> value, in per cent; counts plain; None where undefined
    """

    live: "LiveReport"
    offline_scores: Mapping[str, Mapping[str, float | None]]
    live_scores: Mapping[str, Mapping[str, float | None]]


def compare(
    source: Path,
    gt: Path,
    live: "LiveReport",
    model: str,
    out: Path,
    *,
    offline: Path | None = None,
    seqmap: Path | None = None,
) -> ReplayScores:
    """Scores a live replay and the offline run of the same frames; writes both and `replay.json`, `.txt` into `out`.

    source   what was played; tracked here, unless `offline` already holds the text of that
    gt       ground truth as for `wsperception eval`, with a sequence of the name that `live` has
    offline  folder with `<sequence>.txt` of an earlier `wsperception track`

    Raises InputError as these commands do.
    """
    if offline is None:
        offline = out / OFFLINE
        run_track(TrackRequest(source, model, offline, video=False, replace=True))
    scores = {}
    for name, predictions in ((OFFLINE, offline), (LIVE, live.predictions)):
        folder = out / f"scores_{name}"
        text = predictions / f"{live.sequence}.txt"
        evaluate_command(gt, text, folder, sequences=[live.sequence], seqmap=seqmap, overwrite=True)
        scores[name] = json.loads((folder / "scores.json").read_text())["combined"]
    result = ReplayScores(live, scores[OFFLINE], scores[LIVE])
    (out / REPORT_NAME).write_text(json.dumps(_plain(result), indent=2) + "\n")
    (out / TABLE_NAME).write_text(comparison_table(result) + "\n")
    return result


def comparison_table(result: ReplayScores) -> str:
    """Both scores per class and measure, and what was lost on the way; ready to print."""
    lines = [f"{'class':<12} {'measure':<8} {'offline':>8} {'live':>8}"]
    for kind, offline in result.offline_scores.items():
        live = result.live_scores.get(kind, {})
        lines += [
            f"{kind:<12} {measure:<8} {_figure(offline.get(measure)):>8} {_figure(live.get(measure)):>8}"
            for measure in MEASURES
            if measure in offline
        ]
    lost = len(result.live.missing)
    came_out = f"live: {result.live.received} of {result.live.published} frames came out, {lost} did not"
    lines.append(f"{came_out} ({result.live.dropped} dropped by the busy node)" if lost else came_out)
    if result.live.latency_ms:
        p50, p95, p99 = (result.live.latency_ms[name] for name in ("p50", "p95", "p99"))
        lines.append(f"from image to recorded result: p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms")
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"


def _plain(result: ReplayScores) -> dict[str, Any]:
    values = asdict(result)
    values["live"]["predictions"] = str(result.live.predictions)
    return values


def main(arguments: list[str] | None = None) -> int:
    from wsperception.ros.demo import read_report

    parser = argparse.ArgumentParser(description="Scores a live replay beside the offline run of the same recording.")
    for name, text in (
        ("source", "what was played: rosbag2, KITTI sequence, folder of images, video"),
        ("live", "folder that the recorder wrote"),
        ("gt", "ground truth, KITTI MOTS"),
        ("out", "folder for the scores"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    parser.add_argument("--sequence", default="", help="name of the recorder's files (default: of the source)")
    parser.add_argument("--model", default="tiny", help="model bundle (default: tiny)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sequence = options.sequence or options.source.resolve().name
    try:
        live = read_report(options.live, sequence)
        result = compare(options.source, options.gt, live, options.model, options.out)
    except InputError as error:
        logging.error("%s", error)
        return 2
    logging.info("%s", comparison_table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
