"""One training in many processes, as torchrun starts them: which one this is, what they share.

Every process reads the data and trains; the first one alone writes, tracks, evaluates and talks.
Without torchrun there is one process, and all of this is as if it were not there.
"""

import logging
import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: 0 is the first.
        world: Of all hosts.
        on_host: Of this host.
    """

    rank: int
    world: int
    on_host: int

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    @property
    def hosts(self) -> int:
        """How many machines."""
        return self.world // self.on_host


def here() -> Ranks:
    """Read what torchrun says of this process; alone where it says nothing."""
    said = [int(os.environ.get(name, "")) for name in _SAID if os.environ.get(name, "").isdigit()]
    return Ranks(*said) if len(said) == len(_SAID) else Ranks(0, 1, 1)


_SAID = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def hush() -> None:
    """Let all but the first process speak of errors alone."""
    if not here().first:
        logging.getLogger().setLevel(logging.ERROR)


def total(count: Tensor) -> Tensor:
    """Add up over all processes.

    Args:
        count: On the device of the training.
    """
    added = count.clone()
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(added)
    return added


def world() -> int:
    """Say how many processes average their gradients."""
    there = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if there else 1


def gathered(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Join every process's rows of each tensor, however many rows each has; the same in all.

    Args:
        tensors: In main memory, of equal length.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensors
    everyone: list[tuple[Tensor, ...]] = [()] * distributed.get_world_size()
    distributed.all_gather_object(everyone, tensors)
    return tuple(torch.cat(parts) for parts in zip(*everyone, strict=True))
