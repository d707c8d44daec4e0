"""/diagnostics: one status for the node and its engine, one per camera, with the user's thresholds."""

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from wsperception.bundle import ModelBundle
from wsperception.ros.parameters import DiagnosticSettings
from wsperception.ros.statistics import Snapshot

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def to_array(header: Header, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    return DiagnosticArray(header=header, status=statuses)


def node_status(name: str, state: str, bundle: ModelBundle | None, engine: Mapping[str, str]) -> DiagnosticStatus:
    """State of the lifecycle, model and engine.

    name    of the status, "<node>: pipeline"
    state   label of the lifecycle state, or what is wrong
    bundle  None before configure
    engine  what the backend says of itself, by name: backend, device, engine, GPU memory and so on; empty before
    """
    values = dict(engine)
    if bundle is not None:
        values |= {
            "model": bundle.name,
            "model file": str(bundle.onnx_path),
            "model SHA-256": bundle.sha256,
            "method": f"{bundle.method} ({bundle.supervision})",
            "network input": f"{bundle.input_size[1]} x {bundle.input_size[0]}",
            "classes": ", ".join(bundle.label_space.names),
        }
    return _status(name, engine.get("device", ""), OK, state, values)


def camera_status(
    name: str, topic: str, snapshot: Snapshot, settings: DiagnosticSettings, *, enabled: bool, silence: str
) -> DiagnosticStatus:
    """Rates, age, drops and stage times of one camera, and the worst of what the thresholds say about them.

    silence  why nothing arrives, where that has been found out; "" otherwise
    """
    level, message = worst_of(snapshot, settings, enabled=enabled, silence=silence)
    counts = snapshot.counts
    values = {
        "input topic": topic,
        "input rate [Hz]": f"{snapshot.input_hz:.2f}",
        "output rate [Hz]": f"{snapshot.output_hz:.2f}",
        "input age p50 p95 p99 [ms]": _figures(snapshot.age_ms),
        "last image [s ago]": f"{snapshot.silent_s:.1f}",
        "dropped [%]": f"{snapshot.drop_percent:.1f}",
        **{f"images {key}": str(value) for key, value in vars(counts).items()},
        **{f"{stage} p50 p95 p99 [ms]": _figures(figures) for stage, figures in snapshot.stages_ms.items()},
    }
    return _status(name, topic, level, message, values)


def worst_of(snapshot: Snapshot, settings: DiagnosticSettings, *, enabled: bool, silence: str) -> tuple[bytes, str]:
    """Level and message: the worst verdict, the first of equals."""
    if not enabled:
        return WARN, "disabled by the service enable; images are ignored"
    if snapshot.silent_s > settings.silence_s:
        return ERROR, f"no image for {snapshot.silent_s:.0f} s: {silence}"
    age = snapshot.age_ms[0] if snapshot.age_ms else 0.0
    late = f"input is {age:.0f} ms old: check clocks (a replay needs use_sim_time), network and load"
    verdicts = [
        (ERROR, 0.0 < settings.error_age_ms <= age, late),
        (ERROR, snapshot.output_hz < settings.error_rate_hz, f"output rate is {snapshot.output_hz:.1f} Hz"),
        (ERROR, 0.0 < settings.error_drop_percent <= snapshot.drop_percent, _drops(snapshot)),
        (WARN, 0.0 < settings.warn_age_ms <= age, late),
        (WARN, snapshot.output_hz < settings.warn_rate_hz, f"output rate is {snapshot.output_hz:.1f} Hz"),
        (WARN, 0.0 < settings.warn_drop_percent <= snapshot.drop_percent, _drops(snapshot)),
    ]
    raised = [(level, text) for level, applies, text in verdicts if applies]
    return raised[0] if raised else (OK, f"{snapshot.output_hz:.1f} Hz")


def _drops(snapshot: Snapshot) -> str:
    return f"{snapshot.drop_percent:.0f} % of the images are dropped: a smaller model or a faster engine keeps up"


def _figures(percentiles: tuple[float, ...]) -> str:
    return " ".join(f"{value:.2f}" for value in percentiles) if percentiles else "none"


def _status(name: str, hardware: str, level: bytes, message: str, values: Mapping[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(name=name, hardware_id=hardware, level=level, message=message, values=pairs)
