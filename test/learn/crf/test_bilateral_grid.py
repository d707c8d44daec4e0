import math

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.data.drive.sequence import Drive  # noqa: E402
from wsperception.data.drive.settings import DriveSettings  # noqa: E402
from wsperception.learn.crf import bilateral_grid  # noqa: E402
from wsperception.learn.crf.bilateral_grid import exact_product, grid_product  # noqa: E402

RGB, XY = 15.0, 100.0


def blobs(count: int, side: int, seed: int = 0):
    coarse = torch.rand((count, 1, 5, 5), generator=torch.Generator().manual_seed(seed)) - 0.5
    grown = torch.nn.functional.interpolate(12 * coarse, size=(side, side), mode="bilinear").sigmoid()
    return torch.cat([grown, (grown > 0.5).float(), torch.ones_like(grown)], dim=1)


def street_crops(image: np.ndarray, boxes, side: int):
    parts = [cv2.resize(image[y0:y1, x0:x1], (side, side), interpolation=cv2.INTER_AREA) for x0, y0, x1, y1 in boxes]
    return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).float()


def worst_error(images, sigma_xy: float) -> float:
    maps = blobs(len(images), images.shape[-1])
    exact = exact_product(maps, images, RGB, sigma_xy).flatten(2)
    return ((grid_product(maps, images, RGB, sigma_xy).flatten(2) - exact).norm(dim=2) / exact.norm(dim=2)).max().item()


@pytest.mark.parametrize("product", [exact_product, grid_product])
def test_two_pixels_by_hand(product):
    # Two pixels in a row of 1 x 2, two channels of 30 and 40 apart: 50 in colour, 1 in position. With sigmas of 25 and
    # 2 the affinity is exp(-2500 / 1250 - 1 / 8) = exp(-2.125). W (0.5, 0.25)^T = (0.5 + 0.25 w, 0.25 + 0.5 w).
    images = torch.tensor([[[[100.0, 130.0]], [[200.0, 160.0]], [[7.0, 7.0]]]], dtype=torch.float64)
    w = math.exp(-2.125)
    found = product(torch.tensor([[[[0.5, 0.25]]]], dtype=torch.float64), images, 25.0, 2.0)
    assert found.shape == (1, 1, 1, 2)
    tolerance = 1e-9 if product is exact_product else 0.01
    assert found[0, 0, 0].tolist() == pytest.approx([0.5 + 0.25 * w, 0.25 + 0.5 * w], abs=tolerance)


@pytest.mark.parametrize("product", [exact_product, grid_product])
def test_rows_and_columns_by_hand(product):
    # One colour everywhere, 3 rows x 2 columns, 1 at row 2, column 0. Sigma 1.5: exp(-d^2 / 4.5).
    images = torch.full((1, 3, 3, 2), 255.0, dtype=torch.float64)
    impulse = torch.zeros(1, 1, 3, 2, dtype=torch.float64)
    impulse[0, 0, 2, 0] = 1.0
    expected = [[math.exp(-(rows**2 + columns**2) / 4.5) for columns in (0, 1)] for rows in (2, 1, 0)]
    found = product(impulse, images, RGB, 1.5)[0, 0]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=5e-3)


def test_synthetic_street():
    *_, frame = Drive(DriveSettings(seed=11, frames=2, height=125, width=414)).frames()
    boxes = [(150, 40, 230, 100), (10, 30, 60, 110), (250, 50, 400, 125)]
    assert worst_error(street_crops(frame.image, boxes, 32), XY * 32 / 128) < 0.05
    assert worst_error(street_crops(frame.image, boxes[:1], 64), XY * 64 / 128) < 0.05


def test_real_street(shared_data):
    path = sorted(shared_data("kitti_raw_sfnd").rglob("*.png"))[10]
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    crops = street_crops(image, [(100, 100, 300, 300), (600, 150, 720, 270), (500, 180, 560, 230)], 32)
    assert worst_error(crops, XY * 32 / 128) < 0.05


@pytest.mark.parametrize("colour", [0.0, 4.0, 123.4, 255.0])
def test_where_a_colour_lies_between_the_nodes_does_not_matter(colour):
    # All of one colour: W S is the product over positions alone. Unscaled, the grid would be 1.36 times that at a node.
    images = torch.full((1, 3, 16, 16), colour)
    maps = blobs(1, 16)
    grid, exact = (product(maps, images, RGB, 12.5) for product in (grid_product, exact_product))
    assert ((grid - exact).norm() / exact.norm()).item() < 5e-3


@pytest.mark.parametrize("product", [exact_product, grid_product])
def test_symmetric(product):
    images = 255 * torch.rand((1, 3, 4, 5), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    units = torch.eye(20, dtype=torch.float64).view(1, 20, 4, 5)
    matrix = product(units, images, 60.0, 3.0).view(20, 20)
    assert torch.allclose(matrix, matrix.T, atol=1e-12)
    assert torch.allclose(matrix.diagonal(), torch.ones(20, dtype=torch.float64), atol=5e-3)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-9


@pytest.mark.parametrize("product", [exact_product, grid_product])
def test_images_do_not_mix_and_memory_is_bounded(product, monkeypatch):
    generator = torch.Generator().manual_seed(4)
    images = 255 * torch.rand((3, 3, 6, 5), generator=generator, dtype=torch.float64)
    maps = torch.rand((3, 2, 6, 5), generator=generator, dtype=torch.float64)
    whole = product(maps, images, RGB, 4.0)
    order = torch.tensor([2, 0, 1])
    assert torch.allclose(product(maps[order], images[order], RGB, 4.0), whole[order])
    monkeypatch.setattr(bilateral_grid, "WORKING_SET", 1)  # one row, or one image, at a time
    assert torch.allclose(product(maps, images, RGB, 4.0), whole)


@pytest.mark.parametrize("product", [exact_product, grid_product])
def test_none(product):
    assert product(torch.zeros(0, 2, 8, 8), torch.zeros(0, 3, 8, 8), RGB, XY).shape == (0, 2, 8, 8)


def test_colours_beyond_the_range_are_clamped():
    beyond = torch.full((1, 3, 2, 2), 400.0)
    maps = torch.rand(1, 1, 2, 2)
    assert torch.equal(grid_product(maps, beyond, RGB, XY), grid_product(maps, beyond.clamp(max=255.0), RGB, XY))
