"""The coreset against the greedy choice one by one, and its memory."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from components.detectors.coreset import k_center_greedy, squared_distances
from components.errors import InputError

DIMENSIONS = 152
PATCHES = 100_000
SCRIPT = f"""
from pathlib import Path
import torch
from components.detectors.coreset import k_center_greedy

def kilobytes(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])

torch.manual_seed(0)
patches = torch.rand({PATCHES}, {DIMENSIONS})
k_center_greedy(patches[:5000], 300, 0)
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
coreset = k_center_greedy(patches, 300, 0)
print(len(coreset), before, kilobytes("VmHWM"))
"""


def one_by_one(patches: Tensor, first: int, count: int) -> list[int]:
    """The textbook's loop, on the direct differences."""
    chosen, nearest = [first], torch.full((len(patches),), torch.inf, dtype=patches.dtype)
    while len(chosen) < count:
        nearest = torch.minimum(nearest, (patches - patches[chosen[-1]]).square().sum(dim=1))
        chosen.append(int(nearest.argmax()))
    return chosen


@pytest.mark.parametrize(("total", "count"), [(40, 40), (700, 300), (3000, 400)])
def test_patches_are_those_of_the_choice_one_by_one(total: int, count: int) -> None:
    generator = torch.Generator().manual_seed(1)
    patches = torch.randn(total, 6, generator=generator).double() + 5
    found = k_center_greedy(patches, count, seed=3).tolist()
    assert found == one_by_one(patches, found[0], count)


def test_seed_draws_the_first_patch() -> None:
    patches = torch.rand(500, 4, generator=torch.Generator().manual_seed(0))
    firsts = [int(k_center_greedy(patches, 2, seed)[0]) for seed in (0, 0, 1, 2)]
    assert firsts[0] == firsts[1]
    assert len(set(firsts)) == 3


def test_copies_come_last_and_no_patch_comes_twice() -> None:
    patches = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)).repeat(5, 1)
    found = k_center_greedy(patches, 60, seed=0)
    assert sorted((found[:20] % 20).tolist()) == list(range(20))
    assert len(set(found.tolist())) == 60


@pytest.mark.parametrize("count", [0, 11])
def test_number_of_patches_is_checked(count: int) -> None:
    with pytest.raises(InputError, match="expected 1 to 10 patches"):
        k_center_greedy(torch.rand(10, 2), count, seed=0)


def test_squared_distances_are_those_of_the_differences() -> None:
    rows, others = torch.rand(5, 3), torch.rand(7, 3)
    torch.testing.assert_close(squared_distances(rows, others), (rows[:, None] - others).square().sum(dim=2))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of this process alone from /proc")
def test_coreset_takes_less_than_a_fifth_of_the_memory_of_the_patches_beside_them() -> None:
    """The peak is that of this process (`ru_maxrss` would include the one that started it), reset after a first call.

    What the libraries keep from their first call, threads and code among it, does not grow with the patches.
    """
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    patches, before, peak = map(int, result.stdout.split()[-3:])
    assert patches == 300
    assert peak - before < 0.2 * PATCHES * DIMENSIONS * 4 / 1024
