"""The optimizer, and the moving average of the weights."""

import copy

import torch
from torch import Tensor, nn

from training.recipe import TrainingSettings

NORMALISATION = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._BatchNorm)


def make_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW, without weight decay on normalisation layers."""
    free = {id(p) for m in model.modules() if isinstance(m, NORMALISATION) for p in m.parameters(recurse=False)}
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learned if id(p) not in free], "weight_decay": settings.weight_decay},
        {"params": [p for p in learned if id(p) in free], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.rate, betas=(settings.momentum, 0.999))
    return torch.optim.SGD(groups, lr=settings.rate, momentum=settings.momentum, nesterov=settings.momentum > 0)


class WeightAverage:
    """Exponential moving average of a network's floating point state.

    decay  weight of the past; early on min(decay, (1 + step) / (10 + step)), so that the start is forgotten
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.step = 0
        self._values = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Takes the network's present weights in."""
        share = 1.0 - min(self.decay, (1 + self.step) / (10 + self.step))
        self.step += 1
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                self._values[name].lerp_(value, share)
            else:
                self._values[name].copy_(value)

    def restart(self, net: nn.Module) -> None:
        """Forgets the past: the average is the network's present weights."""
        self.load_state_dict(net.state_dict(), 0)

    def network(self, net: nn.Module) -> nn.Module:
        """A copy of `net` that always has the averaged weights: it shares their memory. For evaluation only."""
        copied = copy.deepcopy(net).requires_grad_(False).eval()
        copied.load_state_dict(self._values, assign=True)
        return copied

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights, under the network's own names."""
        return self._values

    def load_state_dict(self, values: dict[str, Tensor], step: int) -> None:
        """Goes on from saved averages after `step` updates."""
        self.step = step
        for name, value in self._values.items():
            value.copy_(values[name])
