import math

import pytest

torch = pytest.importorskip("torch")
from torchvision.models.detection.anchor_utils import AnchorGenerator  # noqa: E402
from torchvision.models.detection.image_list import ImageList  # noqa: E402

from wsperception.nets.anchors import clip, corner_anchors, decode, encode, level_anchors  # noqa: E402


def test_level_anchors_by_hand():
    # Side 2 x 8 = 16; ratio 4 (height over width) is 32 high and 8 wide. Cell (0, 1) has its centre at (12, 4).
    anchors = level_anchors(1, 2, 8, 2.0, (1.0, 4.0))
    assert anchors.tolist() == [[-4, -4, 12, 12], [0, -12, 8, 20], [4, -4, 20, 12], [8, -12, 16, 20]]


def test_corner_anchors_are_torchvisions():
    images = ImageList(torch.zeros(1, 3, 64, 96), [(64, 96)])
    expected = AnchorGenerator(((32,),), ((0.5, 1.0, 2.0),))(images, [torch.zeros(1, 1, 16, 24)])[0]
    assert torch.equal(corner_anchors(16, 24, 4, 8.0, (0.5, 1.0, 2.0)), expected)


def test_encode_by_hand():
    # From centre (5, 10), size 10 x 20 to centre (7, 10), size 20 x 20: 2/10, 0, log 2, 0; weights 10, 10, 5, 5.
    reference, box = torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.tensor([[-3.0, 0.0, 17.0, 20.0]])
    deltas = encode(box, reference, (10.0, 10.0, 5.0, 5.0))
    assert deltas[0].tolist() == pytest.approx([2.0, 0.0, 5 * math.log(2), 0.0])
    assert torch.allclose(decode(deltas, reference, (10.0, 10.0, 5.0, 5.0)), box)


def test_decode_limits_growth():
    box = decode(torch.tensor([[0.0, 0.0, 99.0, 0.0]]), torch.tensor([[0.0, 0.0, 16.0, 16.0]]), (1.0, 1.0, 1.0, 1.0))
    assert (box[0, 2] - box[0, 0]).item() == pytest.approx(1000.0)


def test_clip_keeps_axes_apart():
    assert clip(torch.tensor([[-1.0, -2.0, 50.0, 50.0]]), (20, 30)).tolist() == [[0.0, 0.0, 30.0, 20.0]]
