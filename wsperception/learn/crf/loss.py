"""The CRF loss: neighbours of similar colour should get one label (WSMOTS Eq. 9; Tang et al., ECCV 2018)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wsperception.learn.crf.bilateral_grid import exact_product, grid_product
from wsperception.settings import check, setting

SCALES = ("share", "sum")
PRODUCTS = {"grid": grid_product, "exact": exact_product}


@dataclass(frozen=True)
class CrfSettings:
    """The affinity W and the scale of the loss.

    The sigmas are those of the code that WSMOTS follows, for masks and crops brought to 128 x 128; the paper does not
    print them.
    """

    sigma_rgb: float = setting(15.0, "colour distance of half-similar pixels, of 255", low=5.0, high=255.0)
    sigma_xy: float = setting(100.0, "distance of half-similar pixels", unit="pixels", low=10.0, high=1000.0)
    scale: str = setting("share", "share of all affinity that is cut, or the sum of Eq. 9 as printed", choices=SCALES)
    both_labels: bool = setting(False, "k runs over object and background, which doubles the loss")
    product: str = setting("grid", "fast, or exact: quadratic in the pixels", choices=tuple(PRODUCTS))

    def __post_init__(self) -> None:
        check(self)


def crf_loss(masks: Tensor, images: Tensor, settings: CrfSettings) -> Tensor:
    """S^T W (1 - S) of each of R masks over its crop of the image: (R,).

    masks   (R, H, W) float        probabilities S of the object, brought to the size of the crop
    images  (R, 3, H, W) float     RGB, 0 to 255; no gradient goes here

    W is the dense Gaussian over colour and position of `wsperception.learn.crf.bilateral_grid`. Scale "sum" is Eq. 9 as
    it is printed, to be weighted by the lambda_CRF = 2e-7 of Table 1. "share" divides it by the sum of W, whatever the
    size and contrast of the crop: at 128 x 128 that sum is some 2.4e7, so that lambda_CRF becomes about 5. A mask of
    the object alone is at most 0.25 there.

    Two masks cost nothing: all object, and none. The loss needs others beside it, a small weight that grows, and an eye
    on mask area over box area.

    Computed in float32, or in float64 where the masks are. No RoI gives (0,), attached to the graph.
    """
    assert images.shape == (len(masks), 3, *masks.shape[1:]), f"{tuple(images.shape)} for masks {tuple(masks.shape)}"
    with torch.autocast(masks.device.type, enabled=False):
        masks = masks if masks.dtype == torch.float64 else masks.float()
        loss: Tensor = _Cut.apply(masks, images, settings)  # type: ignore[no-untyped-call]
    return loss


class _Cut(torch.autograd.Function):
    """The gradient W 1 - 2 W S needs no more than the value does: W is symmetric, as exact product and as grid."""

    @staticmethod
    def forward(ctx: Any, masks: Tensor, images: Tensor, settings: CrfSettings) -> Tensor:
        maps = torch.stack([masks, torch.ones_like(masks)], dim=1)  # (R, 2, H, W)
        product = PRODUCTS[settings.product](maps, images, settings.sigma_rgb, settings.sigma_xy)
        own, degrees = product.unbind(dim=1)
        scale = masks.new_full((len(masks),), 2.0 if settings.both_labels else 1.0)
        if settings.scale == "share":
            scale = scale / degrees.sum(dim=(1, 2))
        ctx.save_for_backward((degrees - 2.0 * own) * scale[:, None, None])
        return (masks * (degrees - own)).sum(dim=(1, 2)) * scale

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[:, None, None], None, None
