import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from wsperception.data.drive.sequence import Drive  # noqa: E402
from wsperception.data.drive.settings import DriveSettings  # noqa: E402
from wsperception.errors import InputError  # noqa: E402
from wsperception.learn.crf.mean_field import DEEPLAB, IRNET, PairwiseSettings, dense_crf, mean_field  # noqa: E402


def exact_mean_field(unaries, image, settings: PairwiseSettings):
    """The same with whole matrices of affinities."""
    labels, height, width = unaries.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    position = torch.stack([x, y]).double()

    def normalised(features):
        affinity = torch.exp(-torch.cdist(features.flatten(1).T, features.flatten(1).T).square() / 2)
        scale = affinity.sum(dim=1).rsqrt()
        return scale[:, None] * affinity * scale

    near = normalised(position / settings.spatial_sigma)
    alike = normalised(torch.cat([position / settings.bilateral_sigma, image / settings.colour_sigma]))
    both = settings.spatial_weight * near + settings.bilateral_weight * alike
    field = (-unaries).softmax(dim=0).flatten(1)
    for _ in range(settings.iterations):
        field = (-unaries.flatten(1) + field @ both).softmax(dim=0)
    return field.view(labels, height, width)


def coarse_unaries(truth, labels: int, seed: int):
    """What a network of stride 8 would say of a label map (H, W): blurred, a tenth of its cells wrong, and unsure."""
    generator = torch.Generator().manual_seed(seed)
    one_hot = torch.nn.functional.one_hot(truth, labels).permute(2, 0, 1)[None].double()
    cells = torch.nn.functional.avg_pool2d(one_hot, 8)
    wrong = torch.rand((1, 1, *cells.shape[2:]), generator=generator) < 0.1
    cells = torch.where(wrong, torch.rand(cells.shape, generator=generator).double(), cells)
    grown = torch.nn.functional.interpolate(cells, size=truth.shape, mode="bilinear")[0]
    noise = 0.1 * torch.rand(grown.shape, generator=generator, dtype=torch.float64)
    return -(4.0 * (grown + noise)).log_softmax(dim=0)


def weights_of(settings: PairwiseSettings):
    return torch.tensor(settings.weights, dtype=torch.float64)


def test_two_pixels_two_labels_by_hand():
    # Two pixels side by side, one colour. Spatial: sigma 1, affinity a = exp(-1/2), row sum 1 + a; normalised, a pixel
    # weighs 1 / (1 + a) itself and a / (1 + a) the other. Its weight is 2, the other kernel's 0. Energies of label 0
    # over label 1: -1 and 0.5. Q starts at s(1) and s(-0.5); after one update the first pixel's Q of label 0 is
    # s(1 + 2 * (m0 - m1)), where m of both labels sums to 1.
    settings = PairwiseSettings(iterations=1, spatial_weight=2.0, spatial_sigma=1.0, bilateral_weight=0.0)
    unaries = torch.tensor([[[-1.0, 0.5]], [[0.0, 0.0]]], dtype=torch.float64)
    a = math.exp(-0.5)

    def s(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    q = s(1.0), s(-0.5)
    first = (q[0] + a * q[1]) / (1 + a)
    second = (a * q[0] + q[1]) / (1 + a)
    expected = s(1.0 + 2 * (2 * first - 1)), s(-0.5 + 2 * (2 * second - 1))
    found = mean_field(unaries, torch.full((3, 1, 2), 9.0), weights_of(settings), settings)
    assert found.shape == (2, 1, 2)
    assert found[0, 0].tolist() == pytest.approx(expected)
    assert torch.allclose(found.sum(dim=0), torch.ones(1, 2, dtype=torch.float64))


def test_the_bilateral_kernel_joins_what_is_alike():
    # Rows 0 to 3 dark, 4 and 5 bright. One pixel of each is sure; all others follow the one of their colour.
    image = torch.zeros(3, 6, 5)
    image[:, 4:] = 200.0
    unaries = torch.zeros(2, 6, 5, dtype=torch.float64)
    unaries[1, 0, 0], unaries[0, 5, 4] = 5.0, 5.0
    settings = PairwiseSettings(spatial_weight=0.0, bilateral_weight=20.0, bilateral_sigma=100.0)
    labels = mean_field(unaries, image, weights_of(settings), settings).argmax(dim=0)
    assert (labels[:4] == 0).all()
    assert (labels[4:] == 1).all()


@pytest.mark.parametrize("settings", [DEEPLAB, IRNET], ids=["deeplab", "irnet"])
def test_against_the_exact_computation_on_a_street(settings):
    *_, frame = Drive(DriveSettings(seed=11, frames=2, height=125, width=414)).frames()
    part = np.ascontiguousarray(frame.image[40:88, 150:214])
    image = torch.from_numpy(part).permute(2, 0, 1).double()
    grey = cv2.GaussianBlur(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), (0, 0), 2)
    truth = torch.from_numpy(np.digitize(grey, np.quantile(grey, [0.25, 0.5, 0.75])))  # labels that follow the picture
    unaries = coarse_unaries(truth, 4, seed=0)
    found = mean_field(unaries, image, weights_of(settings), settings)
    exact = exact_mean_field(unaries, image, settings)
    assert (exact.argmax(dim=0) != unaries.argmin(dim=0)).double().mean() > 0.02  # it does something
    assert (found.argmax(dim=0) != exact.argmax(dim=0)).double().mean() < 0.01


@pytest.mark.parametrize("settings", [DEEPLAB, IRNET], ids=["deeplab", "irnet"])
def test_against_the_exact_computation_on_a_real_street(shared_data, settings):
    folder = shared_data("cityscapes_aachen")
    whole = cv2.imread(str(folder / "leftImg8bit/aachen_000001_000019_leftImg8bit.png"), cv2.IMREAD_COLOR_RGB)
    ids = cv2.imread(str(folder / "gtFine/aachen_000001_000019_gtFine_labelIds.png"), cv2.IMREAD_UNCHANGED)
    part = slice(300, 348), slice(400, 464)
    _, truth = np.unique(ids[part], return_inverse=True)
    truth = torch.from_numpy(truth.reshape(48, 64))
    image = torch.from_numpy(whole[part]).permute(2, 0, 1).double()
    unaries = coarse_unaries(truth, int(truth.max()) + 1, seed=1)
    found = mean_field(unaries, image, weights_of(settings), settings)
    assert (found.argmax(dim=0) != exact_mean_field(unaries, image, settings).argmax(dim=0)).double().mean() < 0.01


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    unaries = torch.rand((3, 2, 4), generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.7, 1.3], dtype=torch.float64, requires_grad=True)
    image = 20 * torch.rand((3, 2, 4), generator=generator, dtype=torch.float64)
    settings = PairwiseSettings(iterations=2, spatial_sigma=1.0, bilateral_sigma=3.0, colour_sigma=10.0)
    assert torch.autograd.gradcheck(lambda u, w: mean_field(u, image, w, settings), (unaries, weights))


def test_the_order_of_the_labels_does_not_matter():
    generator = torch.Generator().manual_seed(1)
    unaries = torch.rand((4, 5, 7), generator=generator, dtype=torch.float64)
    image = 255 * torch.rand((3, 5, 7), generator=generator)
    order = torch.tensor([2, 0, 3, 1])
    found = mean_field(unaries, image, weights_of(DEEPLAB), DEEPLAB)
    assert torch.allclose(mean_field(unaries[order], image, weights_of(DEEPLAB), DEEPLAB), found[order])


def test_without_weights_nothing_happens():
    unaries = torch.rand((3, 4, 4), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = mean_field(unaries, torch.zeros(3, 4, 4), torch.zeros(2, dtype=torch.float64), DEEPLAB)
    assert torch.allclose(found, (-unaries).softmax(dim=0))


def test_one_label_and_one_pixel():
    weights = weights_of(DEEPLAB)
    assert mean_field(torch.zeros(1, 2, 3), torch.zeros(3, 2, 3), weights, DEEPLAB).tolist() == [[[1.0] * 3] * 2]
    assert mean_field(torch.zeros(2, 1, 1), torch.zeros(3, 1, 1), weights, DEEPLAB).tolist() == [[[0.5]], [[0.5]]]


def test_dense_crf_is_the_mean_field_of_logarithms():
    generator = torch.Generator().manual_seed(3)
    probabilities = torch.rand((3, 6, 4), generator=generator, dtype=torch.float64, requires_grad=True).softmax(dim=0)
    image = 255 * torch.rand((3, 6, 4), generator=generator)
    settings = replace(IRNET, iterations=3)
    found = dense_crf(probabilities, image, settings)
    expected = mean_field(-probabilities.detach().log(), image, weights_of(settings), settings)
    assert torch.allclose(found, expected)
    assert not found.requires_grad


def test_settings_out_of_range():
    with pytest.raises(InputError, match="colour_sigma: expected 1 to 255, got 0"):
        PairwiseSettings(colour_sigma=0.0)
