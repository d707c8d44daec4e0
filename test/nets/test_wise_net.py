from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torchvision.models import resnet18  # noqa: E402

from wsperception.nets.weights import load_imagenet  # noqa: E402
from wsperception.nets.wise_net import Fcn, WiseNet, WiseNetSettings, sampled, upsampled  # noqa: E402


def tiny(levels: int = 3) -> WiseNet:
    torch.manual_seed(0)
    return WiseNet(WiseNetSettings(backbone="tiny", levels=levels, embedding_length=6), 2).eval()


def test_a_path_adds_doubled_coarser_scores():
    # One channel, weights 1 and no bias: the finer map plus the doubled coarser one; over 8 the corner cells keep
    # their value, so that the corners are 1 + 8 and 1 + 16.
    path = Fcn((1, 1), 1)
    for score in path.scores:
        torch.nn.init.ones_(score.weight)
        torch.nn.init.zeros_(score.bias)
    found = path([torch.ones(1, 1, 2, 4), torch.tensor([[[[8.0, 16.0]]]])])
    assert found.shape == (1, 1, 2, 4)
    assert found[0, 0, 0].tolist() == [9.0, 11.0, 15.0, 17.0]


@pytest.mark.parametrize(("levels", "stride"), [(3, 8), (4, 4)])
def test_the_finest_level_decides_the_stride(levels: int, stride: int):
    logits, embeddings = tiny(levels)(torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8))
    assert logits.shape == (2, 3, 64 // stride, 96 // stride)
    assert embeddings.shape == (2, 6, 64 // stride, 96 // stride)


def test_at_the_start_almost_everything_is_background():
    logits, _ = tiny()(torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8))
    probabilities = logits.softmax(dim=1)[0].detach()
    assert probabilities[0].mean().item() == pytest.approx(0.98, abs=0.01)
    assert probabilities[1].mean().item() == pytest.approx(0.01, abs=0.005)


def test_sampling_is_upsampling_at_pixels():
    torch.manual_seed(0)
    maps = torch.randn(5, 3, 7)
    size = (24, 56)
    pixels = torch.tensor([[0, 0], [23, 55], [11, 30], [3, 54], [20, 1]])
    whole = upsampled(maps[None], size)[0]
    torch.testing.assert_close(sampled(maps, pixels, size), whole[:, pixels[:, 0], pixels[:, 1]].T)
    assert sampled(maps, pixels[:0], size).shape == (0, 5)


def test_the_two_paths_share_the_body_only():
    net = tiny()
    names = [name.split(".")[0] for name, _ in net.named_parameters()]
    assert set(names) == {"backbone", "location", "embedding"}
    assert not any("fpn" in name for name, _ in net.named_parameters())
    images = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    net(images)[0].sum().backward()
    assert all(parameter.grad is None for parameter in net.embedding.parameters())
    assert all(parameter.grad is not None for parameter in net.location.parameters())


def test_it_starts_from_a_classifiers_weights(tmp_path: Path):
    torch.manual_seed(3)
    classifier = resnet18(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    net = WiseNet(WiseNetSettings(backbone="resnet18", embedding_length=4), 1)
    load_imagenet(net, tmp_path / "resnet18.pth")
    assert torch.equal(net.backbone.body.layer4[1].conv2.weight, classifier.layer4[1].conv2.weight)
