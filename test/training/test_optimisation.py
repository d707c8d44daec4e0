import pytest
import torch
from torch import nn

from training.optimisation import WeightAverage, make_optimizer
from training.recipe import TrainingSettings


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.BatchNorm2d(4), nn.Linear(4, 2))


def test_normalisation_layers_do_not_decay() -> None:
    net = network()
    decayed, free = make_optimizer(net, TrainingSettings(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(4, 3, 1, 1), (4,), (2, 4), (2,)]
    assert [tuple(parameter.shape) for parameter in free["params"]] == [(4,)] * 4


def test_frozen_weights_are_left_out() -> None:
    net = network()
    net[0].requires_grad_(False)
    decayed, _ = make_optimizer(net, TrainingSettings()).param_groups
    assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(2, 4), (2,)]


def test_the_rate_grows_with_the_batch() -> None:
    # 0.02 for 24 frames: 0.005 for 6.
    optimizer = make_optimizer(network(), TrainingSettings(batch=6))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    assert optimizer.param_groups[0]["nesterov"] is True
    other = make_optimizer(network(), TrainingSettings(batch=48, optimizer="adamw", learning_rate=0.001))
    assert isinstance(other, torch.optim.AdamW)
    assert other.param_groups[0]["lr"] == pytest.approx(0.002)
    assert other.param_groups[0]["betas"] == (0.9, 0.999)


def test_average_by_hand() -> None:
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
        average = WeightAverage(net, 0.15)
        net.weight.fill_(2.0)
        average.update(net)  # step 0: min(0.15, 1 / 10) = 0.1 of the past: 0.1 * 1 + 0.9 * 2 = 1.9
        net.weight.fill_(3.0)
        average.update(net)  # step 1: min(0.15, 2 / 11) = 0.15: 0.15 * 1.9 + 0.85 * 3 = 2.835
    assert average.state_dict()["weight"].item() == pytest.approx(2.835)
    assert net.weight.item() == 3.0


def test_average_goes_on_where_it_was() -> None:
    ours, theirs = nn.Linear(2, 2), nn.Linear(2, 2)
    first = WeightAverage(ours, 0.9)
    first.update(theirs)
    second = WeightAverage(theirs, 0.9)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()}, 1)
    first.update(ours)
    second.update(ours)
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)


def test_counters_are_copied() -> None:
    net = nn.BatchNorm1d(1)
    average = WeightAverage(net, 0.5)
    net.num_batches_tracked = torch.tensor(7)
    average.update(net)
    assert average.state_dict()["num_batches_tracked"].item() == 7


def test_a_network_of_the_average_goes_with_it() -> None:
    net = network()
    average = WeightAverage(net, 0.5)
    teacher = average.network(net)
    with torch.no_grad():
        next(net.parameters()).add_(1.0)
    average.update(net)
    taught, learnt = (module.state_dict()["0.weight"] for module in (teacher, net))
    assert torch.equal(taught, average.state_dict()["0.weight"])
    assert not torch.equal(taught, learnt)
    average.restart(net)
    assert average.step == 0
    assert torch.equal(taught, learnt)
    assert taught.data_ptr() != learnt.data_ptr()
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())
