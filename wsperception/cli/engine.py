"""`wsperception engine`: engines built before they are needed."""

import argparse
import logging
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the parser of this command its options."""
    parser.description = "Builds an engine into the cache, compares it with ONNX Runtime and says the figures."
    parser.add_argument("--model", default="tiny", metavar="BUNDLE", help="folder or name of a model (default: tiny)")
    parser.add_argument("--precision", choices=("fp16", "fp32", "int8"), default="fp16", help="(default: fp16)")
    parser.add_argument(
        "--int8", type=Path, metavar="SOURCE", help="INT8 instead, calibrated on a bag, a video or a folder of images"
    )
    parser.add_argument("--topic", help="image topic of a bag that has several")
    parser.add_argument("--cameras", type=int, default=1, metavar="N", help="images run at once (default: 1)")
    parser.add_argument("--build-only", action="store_true", help="do not run it: TensorRT-RTX then needs no GPU")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from wsperception.engine import EngineRequest, engine_command

    logging.getLogger("wsperception.backends").setLevel(logging.INFO)  # a build takes minutes: say how it goes
    precision = "int8" if arguments.int8 is not None else arguments.precision
    request = EngineRequest(
        arguments.model,
        precision,
        arguments.cameras,
        int8=arguments.int8,
        topic=arguments.topic,
        build_only=arguments.build_only,
    )
    print(engine_command(request))
