"""How both methods learn on the scenes: a backbone from tags of whole images, then the method from that backbone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wsperception.learn.kept_work import whole_file
from wsperception.learn.methods.community import Community
from wsperception.learn.methods.jtsm import Jtsm
from wsperception.learn.schedule import learning_rate
from wsperception.learn.tags.tagged_image import TaggedImage
from wsperception.nets.tiny import StandardisedConv, TinyBackbone

RISE = 20
"""Steps over which a rate rises."""

WARM_SEED = 0
"""Of the backbone that all rows and seeds start from, as the paper's start from the same weights of ImageNet."""

REGRESSOR_SHARE = 0.1
"""Rate of the box regressor over that of the other parts: it reads some thousand features at once, all of them
positive, and at the rate of the others a few steps leave nothing of its hidden layer above zero."""


@dataclass(frozen=True)
class Schedule:
    """How long a row learns, and how fast.

    warm_up    steps of the backbone on tags of whole images, which all rows and seeds share; warm_batch images each
    steps      of the row; batch images each
    side       to which whole images are brought, in pixels
    """

    warm_up: int
    steps: int
    side: int
    rate: float
    warm_rate: float = 1e-3
    warm_batch: int = 8
    batch: int = 2
    decay: float = 1e-4


def kept_weights(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The weights in a file, which is made where it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make()
        with whole_file(path) as file:
            torch.save(made, file)
    weights: dict[str, Tensor] = torch.load(path, weights_only=True)
    return weights


def warm_up(
    backbone: nn.Module,
    features: Callable[[Tensor], Tensor],
    images: Sequence[TaggedImage],
    schedule: Schedule,
) -> dict[str, Tensor]:
    """Weights of `backbone` after learning the tags of whole images: they stand in for those of ImageNet.

    features  maps (B, F, h, w) of images (B, H, W, 3) uint8, by the backbone
    """
    torch.manual_seed(WARM_SEED)
    size = (schedule.side, schedule.side)
    pictures = torch.from_numpy(np.stack([cv2.resize(image.image, size) for image in images]))
    tags = torch.from_numpy(np.stack([image.tags for image in images])).float()
    head = nn.Linear(features(pictures[:1]).shape[1], tags.shape[1])
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], schedule.warm_rate)
    for step in range(schedule.warm_up):
        _set_rate(optimizer, step, schedule.warm_up, schedule.warm_rate)
        rows = torch.randint(len(images), (schedule.warm_batch,))
        shown = pictures[rows].flip(2) if step % 2 else pictures[rows]
        loss = functional.binary_cross_entropy_with_logits(head(features(shown).mean(dim=(2, 3))), tags[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            print(f"tags of whole images, step {step + 1}: {loss.item():.3f}", flush=True)
    return backbone.state_dict()


def settle(body: nn.Module) -> None:
    """Makes a warm TinyBackbone ready for a row, for which a step takes half the time then: its filters become plain
    ones, and all but those of the last stage stay as they are.
    """
    assert isinstance(body, TinyBackbone)
    fold(body)
    for part in (body.stem, body.stem_down, *list(body.stages)[:3]):
        part.requires_grad_(False)


def fold(module: nn.Module) -> None:
    """Makes the standardised filters below `module` plain ones of the same values, which then learn as they are."""
    for name, child in module.named_children():
        if not isinstance(child, StandardisedConv):
            fold(child)
            continue
        assert child.bias is not None and not isinstance(child.padding, str)
        plain = nn.Conv2d(
            child.in_channels, child.out_channels, child.kernel_size[0], child.stride[0], child.padding[0]
        )
        assert plain.bias is not None
        plain.weight.data.copy_(child.standard_weight().detach())
        plain.bias.data.copy_(child.bias.detach())
        setattr(module, name, plain)


def fit(
    method: Community | Jtsm, images: Sequence[TaggedImage], schedule: Schedule, seed: int
) -> list[dict[str, float]]:
    """Trains the method; its loss terms and figures step by step."""
    named = [(name, part) for name, part in method.net.named_parameters() if part.requires_grad]
    slow = [part for name, part in named if name.startswith("regressor.")]
    rest = [part for name, part in named if not name.startswith("regressor.")]
    groups = [{"params": rest, "share": 1.0}, {"params": slow, "share": REGRESSOR_SHARE}]
    optimizer = torch.optim.AdamW(groups, schedule.rate, weight_decay=schedule.decay, fused=True)
    random = np.random.default_rng(seed)
    history = []
    for step in range(schedule.steps):
        _set_rate(optimizer, step, schedule.steps, schedule.rate)
        rows = random.choice(len(images), schedule.batch, replace=False)
        seeds = [torch.Generator().manual_seed(int(random.integers(2**62))) for _ in rows]
        terms, figures = method.losses([images[row] for row in rows], seeds)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(method.parameters(), 10.0)
        optimizer.step()
        shares = {name: float(part[0] / part[1]) for name, part in figures.items() if part[1] > 0}
        history.append({name: float(value.detach()) for name, value in terms.items()} | shares)
    return history


def _set_rate(optimizer: torch.optim.Optimizer, step: int, steps: int, peak: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group.get("share", 1.0) * learning_rate(step, steps, peak, warm_up=min(RISE, steps))
