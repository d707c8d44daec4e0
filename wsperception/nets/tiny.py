"""A small residual backbone without normalisation layers: no batch in training, plain convolutions on export."""

import torch
from torch import Tensor, nn
from torch.nn import functional

RELU_GAIN = 1.7139588594436646  # sqrt(2 / (1 - 1 / pi)): restores unit variance after ReLU of a unit Gaussian


class StandardisedConv(nn.Conv2d):
    """Convolution whose filters are kept at zero mean and unit fan-in variance, times a learned gain per channel.

    Scaled weight standardisation (Brock et al., arXiv:2101.08692, Eq. 1): it stands in for batch normalisation, sees
    no batch, so that a step over two processes equals one over the joint batch, and folds into a constant on export.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2)
        self.gain = nn.Parameter(torch.ones(out_channels, 1, 1, 1))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return functional.conv2d(input, self.standard_weight(), self.bias, self.stride, self.padding)

    def standard_weight(self) -> Tensor:
        weight = self.weight.float()
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True, correction=0)
        fan_in = weight[0].numel()
        return (weight - mean) * torch.rsqrt(variance * fan_in + 1e-5) * self.gain


class ResidualBlock(nn.Module):
    """x + 0.2 f(x / expected deviation of x), two 3x3 convolutions, as in normaliser-free ResNets."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, deviation: float) -> None:
        super().__init__()
        self.scale = 1.0 / deviation
        self.first = StandardisedConv(in_channels, out_channels, 3, stride)
        self.second = StandardisedConv(out_channels, out_channels, 3)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = (
            StandardisedConv(in_channels, out_channels, stride if stride > 1 else 1, stride) if changes else None
        )
        if self.shortcut is not None:
            self.shortcut.padding = (0, 0)

    def forward(self, input: Tensor) -> Tensor:
        active = functional.relu(input) * (RELU_GAIN * self.scale)
        shortcut = input if self.shortcut is None else self.shortcut(active)
        hidden = functional.relu(self.first(active)) * RELU_GAIN
        branch: Tensor = self.second(hidden)
        return shortcut + 0.2 * branch


class TinyBackbone(nn.Module):
    """Features at strides 4, 8, 16, 32 of (B, 3, h, w) normalised images."""

    channels = (64, 128, 160, 192)
    blocks = (1, 2, 2, 1)

    def __init__(self) -> None:
        super().__init__()
        self.stem = StandardisedConv(3, 32, 3, 2)
        self.stem_down = StandardisedConv(32, self.channels[0], 3, 2)
        self.stages = nn.ModuleList()
        in_channels, variance = self.channels[0], 1.0
        for stage, (out_channels, depth) in enumerate(zip(self.channels, self.blocks, strict=True)):
            blocks: list[nn.Module] = []
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                blocks.append(ResidualBlock(in_channels, out_channels, stride, variance**0.5))
                changes = stride != 1 or in_channels != out_channels
                variance = (1.0 if changes else variance) + 0.04
                in_channels = out_channels
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, images: Tensor) -> list[Tensor]:
        hidden = functional.relu(self.stem(images)) * RELU_GAIN
        hidden = self.stem_down(hidden)  # (B, 64, h/4, w/4)
        levels = []
        for stage in self.stages:
            hidden = stage(hidden)
            levels.append(functional.relu(hidden))
        return levels
