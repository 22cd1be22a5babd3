import subprocess
import sys

import pytest

PATCHES, DIMENSIONS = 20_000, 152
LIMIT_KB = 2 * 1024 * 1024

SCRIPT = f"""
import resource
import torch
from anomalib.models.components import KCenterGreedy
from components.detectors.patchcore import return_large_blocks

return_large_blocks()
torch.manual_seed(0)
coreset = KCenterGreedy(torch.rand({PATCHES}, {DIMENSIONS}), 0.1).sample_coreset()
print(len(coreset), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_coreset_of_twenty_thousand_patches_stays_under_two_gigabytes() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    patches, peak_kb = map(int, result.stdout.split()[-2:])
    assert patches == PATCHES // 10
    assert peak_kb < LIMIT_KB
