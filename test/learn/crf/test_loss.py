import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.crf.bilateral_grid import grid_product  # noqa: E402
from wsperception.learn.crf.loss import CrfSettings, crf_loss  # noqa: E402

EXACT = {"product": "exact"}


def scene(count: int, height: int, width: int, dtype=torch.float64, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand((count, height, width), generator=generator, dtype=dtype)
    return masks, 255 * torch.rand((count, 3, height, width), generator=generator, dtype=dtype)


def test_three_pixels_by_hand():
    # A row of three: red 100, 130, 100, all else alike; sigmas 30 and 10.
    # w01 = w12 = exp(-900 / 1800 - 1 / 200) = exp(-0.505) = a, w02 = exp(-4 / 200) = exp(-0.02) = b, w_ii = 1.
    # S = (1, 0.5, 0.2):
    # S^T W (1 - S) = sum_ij s_i (1 - s_j) w_ij
    #   i = j:  0 + 0.25 + 0.16 = 0.41
    #   01: 0.5 a, 02: 0.8 b, 10: 0, 12: 0.5 * 0.8 a = 0.4 a, 20: 0, 21: 0.2 * 0.5 a = 0.1 a
    #   = 0.41 + a + 0.8 b
    a, b = math.exp(-0.505), math.exp(-0.02)
    images = torch.zeros(1, 3, 1, 3, dtype=torch.float64)
    images[0, 0, 0] = torch.tensor([100.0, 130.0, 100.0])
    masks = torch.tensor([[[1.0, 0.5, 0.2]]], dtype=torch.float64)
    kernel = {"sigma_rgb": 30.0, "sigma_xy": 10.0, **EXACT}
    expected = 0.41 + a + 0.8 * b
    assert crf_loss(masks, images, CrfSettings(**kernel, scale="sum")).tolist() == pytest.approx([expected])
    # All of W is 3 + 4 a + 2 b.
    share = expected / (3 + 4 * a + 2 * b)
    assert crf_loss(masks, images, CrfSettings(**kernel)).tolist() == pytest.approx([share])
    assert crf_loss(masks, images, CrfSettings(**kernel, both_labels=True)).tolist() == pytest.approx([2 * share])


def test_all_and_nothing_cost_nothing_and_a_half_of_one_colour_a_quarter():
    masks = torch.stack([torch.ones(4, 4), torch.zeros(4, 4), torch.full((4, 4), 0.5)]).double()
    images = torch.full((3, 3, 4, 4), 90.0, dtype=torch.float64)
    assert crf_loss(masks, images, CrfSettings()).tolist() == pytest.approx([0.0, 0.0, 0.25])


@pytest.mark.parametrize("product", ["grid", "exact"])
@pytest.mark.parametrize("scale", ["share", "sum"])
def test_gradcheck(product, scale):
    masks, images = scene(2, 3, 2)
    settings = CrfSettings(sigma_rgb=60.0, sigma_xy=10.0, scale=scale, product=product)
    assert torch.autograd.gradcheck(lambda found: crf_loss(found, images, settings), masks.requires_grad_())


def test_gradient_is_one_filtering():
    # d/dS S^T W (1 - S) = W 1 - 2 W S, for the grid's own W.
    masks, images = scene(1, 6, 7)
    crf_loss(masks.requires_grad_(), images, CrfSettings(scale="sum")).sum().backward()
    ones, own = grid_product(torch.stack([torch.ones_like(masks), masks.detach()], 1), images, 15.0, 100.0)[0]
    assert torch.allclose(masks.grad[0], ones - 2 * own)


def test_grid_is_close_to_exact():
    # A smooth image and a soft mask; losses within 3 %.
    ramp = torch.linspace(0, 120, 32).repeat(32, 1)
    images = torch.stack([ramp, ramp.T, 60 + ramp / 2])[None]
    masks = torch.sigmoid((ramp - 50 + ramp.T / 3) / 10)[None]
    grid, exact = (crf_loss(masks, images, CrfSettings(product=product)).item() for product in ("grid", "exact"))
    assert grid == pytest.approx(exact, rel=0.03)


def test_a_cut_along_a_colour_edge_is_cheaper_than_across():
    images = torch.zeros(2, 3, 16, 16)
    images[:, :, :, :8] = 200.0
    along, across = torch.zeros(16, 16), torch.zeros(16, 16)
    along[:, :8], across[:8] = 1.0, 1.0
    cheap, dear = crf_loss(torch.stack([along, across]), images, CrfSettings())
    assert cheap < 0.01 < 0.2 < dear


def test_flips_and_complements_change_nothing():
    masks, images = scene(2, 6, 5)
    settings = CrfSettings(sigma_rgb=40.0, sigma_xy=20.0)
    loss = crf_loss(masks, images, settings)
    assert torch.allclose(crf_loss(1 - masks, images, settings), loss)
    assert torch.allclose(crf_loss(masks.flip(2), images.flip(3), settings), loss)
    assert torch.allclose(crf_loss(masks.flip(0), images.flip(0), settings), loss.flip(0))
    assert not torch.allclose(crf_loss(masks.flip(2), images, settings), loss)


def test_no_roi_stays_attached():
    masks = torch.zeros((0, 8, 8), requires_grad=True)
    loss = crf_loss(masks, torch.zeros(0, 3, 8, 8), CrfSettings())
    assert loss.shape == (0,)
    loss.sum().backward()
    assert masks.grad is not None and masks.grad.shape == (0, 8, 8)


def test_half_precision_and_autocast_are_computed_in_float32():
    masks, images = scene(1, 8, 8, torch.float32)
    half = masks.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = crf_loss(half, images.bfloat16(), CrfSettings())
    assert loss.dtype == torch.float32
    assert torch.equal(loss, crf_loss(masks.bfloat16().float(), images.bfloat16().float(), CrfSettings()))
    loss.sum().backward()
    assert half.grad.dtype == torch.bfloat16


def test_sizes_must_agree():
    with pytest.raises(AssertionError, match=r"\(1, 3, 8, 4\) for masks \(1, 8, 8\)"):
        crf_loss(torch.zeros(1, 8, 8), torch.zeros(1, 3, 8, 4), CrfSettings())


def test_settings_are_checked():
    with pytest.raises(InputError, match="sigma_rgb"):
        CrfSettings(sigma_rgb=0.0)
    with pytest.raises(InputError, match="scale"):
        CrfSettings(scale="mean")
