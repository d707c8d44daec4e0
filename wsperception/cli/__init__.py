"""The command line: arguments in, one call, a few lines out. What a command does lives elsewhere."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from wsperception import __version__
from wsperception.cli import bench, demo, doctor, drive, engine, evaluate, label, track
from wsperception.cli.exit_codes import BAD_INPUT, INTERRUPTED, OK
from wsperception.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` (default: of the process) names, and returns the exit code.

    0 on success; 1 where the doctor found something that does not work, or some of several bags failed; 2 with one line
    on stderr for a user's mistake, a full disk or a forbidden file; 130 on Ctrl-C.
    """
    logging.basicConfig(level=logging.WARNING, format="wsperception: %(message)s")
    try:
        arguments = _parser().parse_args(argv)
        command: Callable[[argparse.Namespace], int | None] = arguments.command
        return command(arguments) or OK
    except InputError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "wsperception":
            raise
        return _fail(f"this command needs the Python package '{error.name}', which is not installed")
    except KeyboardInterrupt:
        print("wsperception: interrupted", file=sys.stderr)
        return INTERRUPTED


def _fail(text: str) -> int:
    print(f"wsperception: {' '.join(text.split())}", file=sys.stderr)
    return BAD_INPUT


class _Parser(argparse.ArgumentParser):
    """argparse, whose errors are InputErrors: one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="wsperception", description="Masks and track ids from a camera, trained on cheap labels.")
    parser.add_argument("--version", action="version", version=f"wsperception {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    demo.add(commands.add_parser("demo", help="make a synthetic drive, track it and score the result"))
    track.add(commands.add_parser("track", help="masks and track ids of a KITTI sequence, images, a video or a bag"))
    evaluate.add(commands.add_parser("eval", help="score results against ground truth"))
    drive.add(commands.add_parser("drive", help="make a synthetic drive: KITTI MOTS layout and rosbag2"))
    label.add(commands.add_parser("label", help="label frames by points, boxes and tags on a local page"))
    bench.add(commands.add_parser("bench", help="how long each stage takes here, per engine"))
    engine.add(commands.add_parser("engine", help="build a model's TensorRT engine before a robot needs it"))
    doctor.add(commands.add_parser("doctor", help="what is installed, what fits together, what is missing"))
    return parser
