"""One process or many: the same step. Started by torchrun, a process knows its place from the environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wsperception.errors import InputError


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    rank    number of this process, from 0; 0 writes the files
    count   number of processes
    device  where this process computes
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """`model` with gradients averaged over the processes; `model` itself where there is only one."""
        if self.count == 1:
            return model
        # A frame without objects leaves heads unused: without the flag the processes would wait for each other.
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values` over the processes."""
        if self.count > 1:
            dist.all_reduce(values)
            values = values / self.count
        return values

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """Joins the processes that torchrun started, and leaves them at the end.

    device  "auto", "cpu" or "cuda"; each process of a machine takes the GPU of its local rank
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    place = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if count == 1:
        yield Processes(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(rank, count, place)
    finally:
        dist.destroy_process_group()


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of "auto", "cpu" or "cuda"; InputError where CUDA is asked for and absent."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is available; expected one, or --device cpu")
    if local_rank >= torch.cuda.device_count():
        raise InputError(f"--device cuda: process {local_rank} has no GPU; found {torch.cuda.device_count()}")
    return torch.device("cuda", local_rank)
