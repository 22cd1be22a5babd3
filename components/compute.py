"""Device and seeds of everything that computes with torch."""

import random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Network = TypeVar("Network", bound="torch.nn.Module")


def device() -> "torch.device":
    """`cuda` when there is one, else `cpu`."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def placed(network: Network) -> Network:
    """A convolutional network on the device, in channels-last: the faster memory format."""
    import torch

    return network.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for deterministic algorithms."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
