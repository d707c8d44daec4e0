import itertools
import math

import pytest

torch = pytest.importorskip("torch")

from wsperception.learn.crf.permutohedral import PermutohedralLattice, _lifting, _simplices  # noqa: E402


def matrix(lattice: PermutohedralLattice, count: int):
    return lattice.product(torch.eye(count, dtype=torch.float64))


def exact(features):
    return torch.exp(-(features[:, None] - features).square().sum(dim=2) / 2)


def test_simplex_of_one_dimension_by_hand():
    # Scale sqrt(2 / 3) * 2 over the length sqrt(2) of (1, -1): 0.3 is laid at (0.3464, -0.3464), between the node 0 at
    # (0, 0), remainder 0, and the node at (1, -1), remainder 1. The weights are the distances: 0.6536 and 0.3464.
    features = torch.tensor([[0.3]], dtype=torch.float64)
    lifted = math.sqrt(2 / 3) * 2 / math.sqrt(2) * 0.3
    keys, weights = _simplices(features)
    assert (keys - 2048).tolist() == [[0, 1]]
    assert weights[0].tolist() == pytest.approx([1 - lifted, lifted])


@pytest.mark.parametrize("dims", [1, 2, 3, 5])
def test_a_point_is_the_weighted_mean_of_its_nodes(dims):
    features = 8 * torch.rand((50, dims), generator=torch.Generator().manual_seed(dims), dtype=torch.float64) - 4
    keys, weights = _simplices(features)
    digits = torch.stack([(keys >> (12 * axis)) % 4096 - 2048 for axis in range(dims)], dim=2)
    nodes = torch.cat([digits, -digits.sum(dim=2, keepdim=True)], dim=2).double()  # (N, d + 1, d + 1)
    assert weights.min() >= -1e-12
    assert torch.allclose(weights.sum(dim=1), torch.ones(50, dtype=torch.float64))
    assert torch.allclose(torch.einsum("nk,nkc->nc", weights, nodes), features @ _lifting(dims).T)
    remainders = torch.arange(dims + 1)[:, None].expand(-1, dims + 1)
    assert torch.equal(nodes.long() % (dims + 1), remainders.expand(50, -1, -1))


def test_lifting_keeps_distances_up_to_scale():
    lifting = _lifting(5)
    assert torch.allclose(lifting.sum(dim=0), torch.zeros(5, dtype=torch.float64))
    assert torch.allclose(lifting.T @ lifting, 24 * torch.eye(5, dtype=torch.float64))  # 2 / 3 * 6^2


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_against_the_exact_kernel_once_normalised(dims):
    axis = torch.linspace(-3.0, 3.0, {1: 200, 2: 25, 3: 12}[dims], dtype=torch.float64)
    features = torch.tensor(list(itertools.product(axis.tolist(), repeat=dims)), dtype=torch.float64)
    values = features.cos().prod(dim=1, keepdim=True).exp()

    scale = exact(features).sum(dim=1, keepdim=True).rsqrt()
    expected = scale * (exact(features) @ (scale * values))
    found = PermutohedralLattice(features).product(values)
    assert ((found - expected).norm() / expected.norm()).item() < 0.03
    assert (values / values.mean() * expected.mean() - expected).norm() / expected.norm() > 0.1  # it does something


def test_falls_as_a_gaussian_falls():
    # Along one direction through a plane full of points: 1, exp(-1/8), exp(-1/2), exp(-9/8), exp(-2) and nothing.
    axis = torch.linspace(-3.0, 6.0, 91, dtype=torch.float64)
    features = torch.cartesian_prod(axis, axis)
    impulse = torch.zeros(91, 91, dtype=torch.float64)
    impulse[30, 30] = 1.0  # at 0, 0
    row = PermutohedralLattice(features).product(impulse.view(-1, 1)).view(91, 91)[30]
    row = row / row[30].clone()
    expected = torch.exp(-torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 4.5], dtype=torch.float64).square() / 2)
    assert (row[[30, 35, 40, 45, 50, 75]] - expected).abs().max() < 0.07


def test_symmetric_and_never_negative():
    # Sixty points in five dimensions: most nodes have one point, and many neighbours none.
    features = 2 * torch.rand((60, 5), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = matrix(PermutohedralLattice(features), 60)
    assert whole.min() >= 0.0
    assert torch.allclose(whole, whole.T, atol=1e-12)


def test_where_in_its_simplex_a_point_lies_does_not_matter():
    # In the middle of a plane full of points all see the same, so that all weigh themselves nearly alike.
    axis = torch.linspace(-4.0, 4.0, 41, dtype=torch.float64)
    diagonal = matrix(PermutohedralLattice(torch.cartesian_prod(axis, axis)), 1681).diagonal().view(41, 41)
    inner = diagonal[15:26, 15:26]
    assert ((inner.max() - inner.min()) / inner.mean()).item() < 0.2


def test_equal_points_share_what_they_get():
    features = torch.tensor([[0.2, 0.7], [0.2, 0.7], [30.0, -12.0]], dtype=torch.float64)
    found = PermutohedralLattice(features).product(torch.tensor([[1.0, 0.0], [3.0, 5.0], [7.0, 2.0]]).double())
    # The first two weigh 1/2 each; the last is too far from the others to see them.
    assert torch.allclose(found, torch.tensor([[2.0, 2.5], [2.0, 2.5], [7.0, 2.0]]).double())
