"""TensorRT from camera buffer to messages on an NVIDIA GPU: 1 and 4 cameras, FP32, FP16 and INT8.

    python -m benchmarks.deployment.tensorrt [--weights FILE] [--rounds 500] [--out out/tensorrt.json]

Builds the engines of R50-FPN at 384 x 1248 and of models/tiny (the first time: minutes), clears the quality gate, and
takes the time from the bytes of a bgr8 image message to the filled detection and id-image messages. The network's
stage, which holds the copies to and from the GPU, stands beside its arithmetic floor: the multiplications and additions
of its layers at the GPU's peak for that precision (--peak where the GPU is not known here). Without --weights (a state
dict of maskrcnn_resnet50_fpn) R50-FPN has random weights, which cost the same time. Writes JSON and prints a table.
"""

import argparse
import array
import json
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a file: this folder must not be searched, where this file would pass for TensorRT
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np

from wsperception.backends import EngineOptions, engine_cache, tensorrt_
from wsperception.backends.engine_graph import read_graph
from wsperception.backends.int8_graph import calibrate
from wsperception.bench_report import machine
from wsperception.bundle import ModelBundle, read_bundle
from wsperception.data.drive.sequence import Drive
from wsperception.data.drive.settings import DriveSettings
from wsperception.errors import InputError
from wsperception.pipeline import Pipeline
from wsperception.preprocess import letterbox
from wsperception.ros.interfaces import ros_missing

IMAGE_SIZE = (375, 1242)
IMAGES = 8
CAMERAS = (1, 4)
WARM_UP = 20
PRECISIONS = ("fp32", "fp16", "int8")
PEAKS_TERA = {
    "H200": {"fp32": 67.0, "fp16": 989.0, "int8": 1979.0},
    "H100": {"fp32": 67.0, "fp16": 989.0, "int8": 1979.0},
    "A100": {"fp32": 19.5, "fp16": 312.0, "int8": 624.0},
    "RTX 4090": {"fp32": 82.6, "fp16": 165.2, "int8": 660.6},
}
"""Dense operations per second of NVIDIA's data sheets, in 10^12; a multiplication with its addition counts as two."""
AIMS_MS = {("R50-FPN", "fp16", 1): (8.0, 12.0), ("R50-FPN", "fp16", 4): (15.0, float("inf"))}
"""p50 and p99 on a GPU of the H200's class."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="torchvision's state dict (default: random weights)")
    parser.add_argument("--folder", type=Path, default=Path("out/benchmarks"), help="where the bundle is kept")
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--peak", type=float, metavar="TERA", help="10^12 operations per second in FP16 of this GPU")
    parser.add_argument("--out", type=Path, default=Path("out/tensorrt.json"))
    arguments = parser.parse_args()
    missing = tensorrt_.obstacle() or ros_missing()
    if missing:
        print(f"nothing to measure: {missing}", file=sys.stderr)
        return 2
    report: dict[str, Any] = {"machine": machine(), "rounds": arguments.rounds, "cases": []}
    for name, bundle in bundles(arguments.weights, arguments.folder).items():
        operations = layer_operations(bundle)
        for precision in PRECISIONS:
            for cameras in CAMERAS:
                try:
                    case = measured(bundle, precision, cameras, arguments.rounds)
                except InputError as error:
                    print(f"left out: {name}, {precision}, {cameras} camera(s): {error}", file=sys.stderr)
                    continue
                floor_ms = arithmetic_floor_ms(operations * cameras, case["gpu"], precision, arguments.peak)
                report["cases"].append({"model": name, **case, "operations": operations, "floor_ms": floor_ms})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))
    return 0


def bundles(weights: Path | None, folder: Path) -> dict[str, ModelBundle]:
    """R50-FPN at 384 x 1248, made once, and models/tiny."""
    from benchmarks.deployment.torchvision_eager import bundle_of, random_weights
    from wsperception.nets.weights import COCO_DETECT

    folder.mkdir(parents=True, exist_ok=True)
    large = bundle_of(weights or random_weights(folder, few=False), COCO_DETECT.detections, folder)
    return {"R50-FPN": large, "tiny": read_bundle("tiny")}


def measured(bundle: ModelBundle, precision: str, cameras: int, rounds: int) -> dict[str, Any]:
    """Times in milliseconds of `rounds` batches of one image per camera, and what they ran on."""
    drive = Drive(DriveSettings(frames=IMAGES, height=IMAGE_SIZE[0], width=IMAGE_SIZE[1]))
    images = [frame.image for frame in drive.frames()]
    if precision == "int8":
        inputs = [letterbox(image, bundle.input_size)[0] for image in images]
        ranges = calibrate(read_graph(bundle), inputs)
        engine_cache.write_ranges(engine_cache.cache_folder(), bundle.sha256, ranges, "synthetic drive", len(images))
    backend = tensorrt_.load(bundle, EngineOptions(precision=precision, largest_batch=cameras))
    try:
        times = timed(Pipeline(backend, bundle), images, cameras, rounds)
        facts = backend.describe()
    finally:
        backend.close()
    quantiles = {
        f"{stage}_p{part}_ms": float(np.percentile(values, part))
        for stage, values in times.items()
        for part in (50, 99)
    }
    return {"precision": precision, "cameras": cameras, "gpu": facts.device, "engine": str(facts), **quantiles}


def timed(pipeline: Pipeline, images: list[np.ndarray], cameras: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each round from the message's bytes to filled messages, and of the network's stage."""
    from sensor_msgs.msg import Image

    from wsperception.ros import messages

    buffers = [array.array("B", np.ascontiguousarray(image[:, :, ::-1]).tobytes()) for image in images]
    times: dict[str, list[float]] = {"total": [], "network": []}
    for number in range(WARM_UP + rounds):
        arrivals = []
        for camera in range(cameras):
            message = Image(height=IMAGE_SIZE[0], width=IMAGE_SIZE[1], encoding="bgr8", step=3 * IMAGE_SIZE[1])
            message.data = buffers[(number + camera) % len(buffers)]
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(number * 10**8, 10**9)
            arrivals.append(message)
        start = time.perf_counter()
        frames = [messages.to_frame(message, f"camera {place}", number) for place, message in enumerate(arrivals)]
        results = pipeline.batch(frames)
        for message, result in zip(arrivals, results, strict=True):
            messages.to_detections(result.segments, message.header)
            messages.to_instance_ids(result.segments, message.header)
        if number >= WARM_UP:
            times["total"].append((time.perf_counter() - start) * 1e3)
            times["network"].append(results[0].timings_ms["network"])
    return times


def layer_operations(bundle: ModelBundle) -> int:
    """Multiplications and additions of one image's layers: convolutions and products with weights."""
    import onnx
    import onnxruntime

    model = read_graph(bundle)
    weights = {entry.name: tuple(entry.dims) for entry in model.graph.initializer}
    kinds = ("Conv", "ConvTranspose", "Gemm")
    layers = [node for node in model.graph.node if node.op_type in kinds and node.input[1] in weights]
    del model.graph.output[:]
    for node in layers:
        shape = onnx.helper.make_node("Shape", [node.output[0]], [f"{node.output[0]}_size"])
        reads = onnx.helper.make_node("Shape", [node.input[0]], [f"{node.output[0]}_reads"])
        model.graph.node.extend([shape, reads])
        for name in ("size", "reads"):
            kind = onnx.TensorProto.INT64
            model.graph.output.append(onnx.helper.make_tensor_value_info(f"{node.output[0]}_{name}", kind, [None]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sizes = session.run(None, {"images": np.zeros((1, *bundle.input_size, 3), np.uint8)})
    total = 0
    for node, size, reads in zip(layers, sizes[::2], sizes[1::2], strict=True):
        weight = weights[node.input[1]]
        # A weight is used once per place of the output, or of the input where the layer enlarges.
        if node.op_type == "Gemm":
            places = int(size[0])
        else:
            shape = size if node.op_type == "Conv" else reads
            places = int(np.prod(shape)) // int(shape[1])
        total += 2 * places * int(np.prod(weight))
    return total


def arithmetic_floor_ms(operations: int, gpu: str, precision: str, peak_tera: float | None) -> float | None:
    """Milliseconds at the GPU's peak; None for a GPU whose peak is not known here."""
    known = next((peaks for name, peaks in PEAKS_TERA.items() if name in gpu), None)
    if peak_tera is not None:
        known = {"fp32": peak_tera / 8, "fp16": peak_tera, "int8": 2 * peak_tera}
    return None if known is None else operations / known[precision] / 1e9


def table(report: dict[str, Any]) -> str:
    """The cases as Markdown."""
    where = report["machine"]
    lines = [
        f"{where['date']}, commit {where['commit'][:10]}, {report['rounds']} rounds",
        "",
        "| model | precision | cameras | total p50 ms | p99 ms | network p50 ms | floor ms | aim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in report["cases"]:
        aim = AIMS_MS.get((case["model"], case["precision"], case["cameras"]))
        reached = aim is not None and case["total_p50_ms"] < aim[0] and case["total_p99_ms"] < aim[1]
        floor = "" if case["floor_ms"] is None else f"{case['floor_ms']:.3f}"
        verdict = "" if aim is None else ("reached" if reached else f"missed: {aim[0]:g}, {aim[1]:g}")
        lines.append(
            f"| {case['model']} | {case['precision']} | {case['cameras']} | {case['total_p50_ms']:.2f} "
            f"| {case['total_p99_ms']:.2f} | {case['network_p50_ms']:.2f} | {floor} | {verdict} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
