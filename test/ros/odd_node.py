"""The perception node with a network that is slow (SLOW_S), fails at image FAIL_AT or dies at image DIE_AT."""

import os
import sys
import time

from wsperception.backends import onnx_
from wsperception.errors import InputError
from wsperception.ros.perception_node import main

WARM_UP_RUNS = 1
run = onnx_.OnnxBackend.run
calls = 0


def odd_run(self, batch):
    global calls
    calls += 1
    time.sleep(float(os.environ.get("SLOW_S", "0")))
    if calls - WARM_UP_RUNS == int(os.environ.get("FAIL_AT", "-1")):
        raise InputError("model.onnx: the engine ran out of memory")
    if calls - WARM_UP_RUNS == int(os.environ.get("DIE_AT", "-1")):
        raise ZeroDivisionError("a defect")
    return run(self, batch)


onnx_.OnnxBackend.run = odd_run
sys.exit(main())
