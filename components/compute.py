"""What everything that computes shares: device, threads, seeds, and moves of images."""

import math
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Network = TypeVar("Network", bound="torch.nn.Module")

GRID_PHASES = tuple((down, right) for down in range(0, 8, 2) for right in range(0, 8, 2) if down or right)
"""Pixels by which an image is moved, so that a backbone's features of stride 8 come in all phases of their grid."""

_THREADS = "OMP_NUM_THREADS"
_OTHER_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CGROUPS, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def device() -> "torch.device":
    """`cuda` when there is one, else `cpu`.

    On a GPU convolutions keep all of float32. With TF32, torch's default there, PatchCore's scores on an
    H100 were up to 2 % of the highest away from a processor's, and a threshold goes to machines of both kinds.
    """
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


def placed(network: Network) -> Network:
    """A convolutional network on the device, in channels-last: the faster memory format."""
    import torch

    return network.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def usable_cores(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Cores that this process may keep busy: those of its affinity, or its CPU quota in whole cores where that is less.

    The quota is the least of its control group and those above it, of version 1 or 2; a container sees its own group as
    the root. A part of a core is left out, as a thread more would be throttled; at least 1.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([float(affinity), *_quotas(cgroups, own)])))


def thread_limit(share: int = 1) -> int:
    """Threads on which one of `share` tasks at once computes; 0 where nothing limits them, so that libraries decide.

    `OMP_NUM_THREADS` of the environment decides where it is set.
    """
    given = os.environ.get(_THREADS, "")
    if given.isdecimal() and int(given):
        return int(given)
    cores = usable_cores()
    return max(1, cores // share) if share > 1 or cores < (os.cpu_count() or 1) else 0


def set_threads(threads: int) -> None:
    """Let torch and the libraries of linear algebra compute on so many threads, those that are loaded already too."""
    os.environ |= dict.fromkeys((_THREADS, *_OTHER_THREADS), str(threads))
    if "numpy" in sys.modules or "torch" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


def _quotas(cgroups: Path, own: Path) -> Iterator[float]:
    """CPU quotas in cores; /proc/self/cgroup has lines NUMBER:CONTROLLERS:PATH, of version 2 with no controllers."""
    lines = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = (cgroups / controllers, cgroups / "cpu") if controllers else (cgroups, cgroups / "unified")
        for root in roots:
            group = root / path.lstrip("/")
            while group.is_relative_to(root):
                yield from _quota(group)
                group = group.parent


def _quota(group: Path) -> Iterator[float]:
    """The CPU quota of one control group in cores, if it has one."""
    limits = group / "cpu.max"
    if limits.is_file():
        quota, period = limits.read_text(encoding="utf-8").split()
    elif (group / "cpu.cfs_quota_us").is_file():
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
    else:
        return
    if quota.strip().isdecimal():  # others are `max` and -1
        yield int(quota) / int(period)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for deterministic algorithms."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # For code that reads memory before it writes it, at the cost of one more pass over every tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def rotate(images: "Tensor", degrees: float) -> "Tensor":
    """Rotate images [..., 3, height, width] about their centre; the corners show the mirrored border, not black.

    Multiples of 90 degrees of square images are exact.
    """
    import torch
    from torchvision.transforms.v2 import InterpolationMode, functional

    height, width = images.shape[-2:]
    quarters, rest = divmod(degrees, 90)
    if rest == 0 and height == width:
        return torch.rot90(images, int(quarters), dims=(-2, -1))
    padded = images
    for margin in _mirror_margins(width, height):
        padded = functional.pad(padded, margin, padding_mode="reflect")
    rotated = functional.rotate(padded, degrees, InterpolationMode.BILINEAR)
    cropped: Tensor = functional.center_crop(rotated, [height, width])
    return cropped


def shift(images: "Tensor", down: int, right: int) -> "Tensor":
    """Move images [..., 3, height, width] by whole pixels, 0 or more; what comes in at the border mirrors it."""
    from torchvision.transforms.v2 import functional

    height, width = images.shape[-2:]
    padded: Tensor = functional.pad(images, [right, down, 0, 0], padding_mode="reflect")
    return padded[..., :height, :width]


def _mirror_margins(width: int, height: int) -> list[list[int]]:
    """Margins to mirror in turn, so that a rotation by any angle finds no corner empty; each is less than the sides.

    A square needs half of what its diagonal is longer, a fifth of its side.
    """
    if width == height:
        return [[width // 4, height // 4]]
    missing = [math.ceil((math.hypot(width, height) - side) / 2) + 1 for side in (width, height)]
    sides, margins = [width, height], []
    while any(missing):
        margin = [min(wanted, side - 1) for wanted, side in zip(missing, sides, strict=True)]
        missing = [wanted - own for wanted, own in zip(missing, margin, strict=True)]
        sides = [side + 2 * own for side, own in zip(sides, margin, strict=True)]
        margins.append(margin)
    return margins
