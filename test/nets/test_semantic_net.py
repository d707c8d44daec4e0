import pytest

torch = pytest.importorskip("torch")

from wsperception.errors import InputError  # noqa: E402
from wsperception.nets.semantic_net import PyramidContext, SemanticNet, SemanticSettings, TagNet  # noqa: E402

TINY = SemanticSettings(backbone="tiny", channels=16, bins=(1, 2))


def images_of(height: int, width: int, count: int = 1):
    return torch.randint(0, 256, (count, height, width, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_a_logit_for_every_pixel_whatever_the_size():
    torch.manual_seed(0)
    net = SemanticNet(TINY, 5)
    assert net(images_of(64, 96, 2)).shape == (2, 5, 64, 96)
    assert net(images_of(50, 70)).shape == (1, 5, 50, 70)


def test_images_do_not_mix():
    torch.manual_seed(0)
    net, both = SemanticNet(TINY, 3), images_of(64, 64, 2)
    assert torch.allclose(net(both)[1], net(both[1:])[0], atol=1e-5)


def test_context_by_hand():
    # One channel, bins of 1 and 2 over a row of 2 x 4. The 1x1 convolutions double; the 3x3 keeps the sum of the three
    # parts of its middle cell. Mean of all 1.5; of the left and right halves, each over both rows, 0.5 and 2.5.
    context = PyramidContext(1, (1, 2))
    with torch.no_grad():
        for conv in context.reduce:
            assert isinstance(conv, torch.nn.Conv2d) and conv.bias is not None
            conv.weight.fill_(2.0)
            conv.bias.zero_()
        context.join.weight.zero_()
        context.join.weight[0, :, 1, 1] = 1.0
        context.join.bias.zero_()
    features = torch.tensor([[[[0.0, 1.0, 2.0, 3.0]] * 2]])
    # Halves 1 and 5, enlarged from 2 to 4 columns with cells' centres as anchors: 1, 2, 4, 5.
    expected = [0.0 + 3.0 + 1.0, 1.0 + 3.0 + 2.0, 2.0 + 3.0 + 4.0, 3.0 + 3.0 + 5.0]
    found = context(features)[0, 0]
    assert found[0].tolist() == pytest.approx(expected)
    assert found[1].tolist() == pytest.approx(expected)


def test_what_is_far_away_counts():
    torch.manual_seed(0)
    net, image = SemanticNet(SemanticSettings(backbone="tiny", channels=16, bins=(1,)), 3), images_of(64, 512)
    changed = image.clone()
    changed[:, :, 480:] = 255
    assert (net(image) - net(changed))[:, :, :, :8].abs().max() > 1e-6


def test_tags_are_of_the_mean_over_the_image():
    torch.manual_seed(0)
    net = TagNet(TINY, 4)
    activations = net.activations(images_of(64, 96))
    assert activations.shape == (1, 16, 8, 12)
    assert activations.min() >= 0.0
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(net.scores(activations[:, :, order]), net(images_of(64, 96)), atol=1e-5)


def test_a_plain_surface_has_heat_as_a_textured_one():
    torch.manual_seed(0)
    image = images_of(64, 128)
    image[:, :, 64:] = 120
    net = TagNet(TINY, 4)
    for bias in (parameter for name, parameter in net.named_parameters() if name.endswith("bias")):
        torch.nn.init.normal_(bias)
    activations = net.activations(image)
    assert activations.shape == (1, 16, 8, 16)
    textured, plain = (part.square().mean() for part in (activations[..., :4], activations[..., 12:]))
    assert 0.5 < plain / textured < 2.0
    with torch.no_grad():
        net.last.weight.mul_(10)
        net.last.bias.mul_(10)  # type: ignore[union-attr]
    assert torch.allclose(net.activations(image), activations, atol=1e-3)


def test_what_lies_far_from_a_cell_has_no_part_in_its_heat():
    # Two levels of the backbone and the 3x3 convolution see some 200 pixels around; stride 32, left out, twice that.
    torch.manual_seed(0)
    net, image = TagNet(TINY, 3), images_of(64, 768)
    changed = image.clone()
    changed[:, :, 640:] = 255
    assert torch.equal(net.activations(image)[..., :8], net.activations(changed)[..., :8])


def test_bad_bins():
    with pytest.raises(InputError, match="bins: expected 1 to 32, got 0"):
        SemanticSettings(bins=(0, 2))
