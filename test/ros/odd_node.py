"""The perception node with an engine that loads until the file LOAD_UNTIL is there, or fails with LOAD_FAILS, and with
a network that is slow (SLOW_S), fails at image FAIL_AT or dies at image DIE_AT."""

import logging
import os
import sys
import time

from wsperception.backends import onnx_
from wsperception.errors import InputError
from wsperception.ros import aside
from wsperception.ros.perception_node import main

WARM_UP_RUNS = 1
aside.PROGRESS_PERIOD_S = float(os.environ.get("PROGRESS_PERIOD_S", "5"))
run, load = onnx_.OnnxBackend.run, onnx_.load
calls = 0


def odd_load(bundle, options):
    logging.getLogger("wsperception.backends.onnx_").info("building the engine for %d images", options.largest_batch)
    while "LOAD_UNTIL" in os.environ and not os.path.exists(os.environ["LOAD_UNTIL"]):
        time.sleep(0.05)
    if reason := os.environ.get("LOAD_FAILS"):
        raise InputError(reason)
    return load(bundle, options)


def odd_run(self, batch):
    global calls
    calls += 1
    time.sleep(float(os.environ.get("SLOW_S", "0")))
    if calls - WARM_UP_RUNS == int(os.environ.get("FAIL_AT", "-1")):
        raise InputError("model.onnx: the engine ran out of memory")
    if calls - WARM_UP_RUNS == int(os.environ.get("DIE_AT", "-1")):
        raise ZeroDivisionError("a defect")
    return run(self, batch)


onnx_.OnnxBackend.run, onnx_.load = odd_run, odd_load
sys.exit(main())
