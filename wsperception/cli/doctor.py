"""`wsperception doctor`: what is installed and what is missing."""

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the parser of this command its options."""
    parser.description = (
        "Says what is installed, whether it fits together, and what to do; exit code 1 where it does not."
    )
    parser.add_argument("--model", default="tiny", metavar="BUNDLE", help="model to load (default: tiny)")
    parser.add_argument("--image-topic", metavar="TOPIC", help="camera topic to look at; default: list them")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="how long to listen (default: 3)")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from wsperception.doctor import doctor_command

    text, status = doctor_command(arguments.model, arguments.image_topic, arguments.seconds)
    print(text)
    return status
