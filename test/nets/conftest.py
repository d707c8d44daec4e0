"""Networks with random weights that find something."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def random_network() -> Callable[[Any], Any]:
    """From NetSettings to a PerceptionNet of two classes of things, with scores spread over [0, 1] and overlaps."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from wsperception.nets.perception_net import PerceptionNet

    def network(settings: Any) -> Any:
        torch.manual_seed(0)
        net = PerceptionNet(settings, 2 + settings.stuff_classes).eval()
        with torch.no_grad():
            net.box.cls_score.weight.mul_(60)
            net.box.bbox_pred.weight.mul_(30)
            net.rpn.cls_logits.weight.mul_(20)
            if net.semantic is not None:
                net.semantic.logits.weight.mul_(200)
        return net

    return network
