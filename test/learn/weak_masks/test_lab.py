import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.weak_masks.lab import rgb_to_lab  # noqa: E402


def test_white_black_and_red():
    colours = torch.tensor([[255.0, 255, 255], [0, 0, 0], [255, 0, 0]], dtype=torch.float64)
    found = rgb_to_lab(colours[:, :, None, None])[:, :, 0, 0].numpy()
    # Red of sRGB is Lab (53.24, 80.09, 67.20) in every textbook.
    assert np.allclose(found, [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.02)


def test_as_opencv():
    image = np.random.default_rng(0).integers(0, 256, (16, 17, 3), np.uint8)
    image[0, :8] //= 32  # the line near black
    expected = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    found = rgb_to_lab(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    # OpenCV reads its roots from a table.
    assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).max() < 0.3


def test_kinds_of_numbers():
    image = torch.rand(1, 3, 2, 2) * 255
    assert rgb_to_lab(image.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rgb_to_lab(image), rgb_to_lab(image.clone()))
        assert rgb_to_lab(image.bfloat16()).dtype == torch.float32
    assert rgb_to_lab(image[:0]).shape == (0, 3, 2, 2)
