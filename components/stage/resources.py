"""What a stage may compute on: its threads, by the limits of its pod or process, and the GPUs that were asked for."""

import os

from components.compute import set_threads, thread_limit
from components.errors import InputError

GPUS = "VIGIL_GPUS"
"""Environment variable: number of GPUs that the line asks for, which the package sets for a task that has some."""
AT_ONCE = "VIGIL_TASKS_AT_ONCE"
"""Environment variable `STAGE=NUMBER`: how many tasks of a stage run at once on this machine and share its cores."""


def limit_threads(stage: str) -> None:
    """Keep a stage's threads to the cores that its quota, its affinity and the tasks beside it leave.

    Where none of them limits it, the libraries' own numbers stay, on which digits depend.
    """
    name, _, number = os.environ.get(AT_ONCE, "").partition("=")
    share = int(number) if name and name == stage.partition(" ")[0] else 1
    if threads := thread_limit(share):
        set_threads(threads)


def require_gpus() -> None:
    """Raise `InputError` where the line asks for GPUs that torch cannot compute on: the processor would be too slow."""
    wanted = int(os.environ.get(GPUS) or 0)
    if not wanted:
        return
    import torch

    try:
        found = torch.cuda.device_count()
        for index in range(found):
            torch.ones(1, device=f"cuda:{index}").add(1).item()  # a kernel shows that torch was built for the GPU
    except (RuntimeError, AssertionError) as error:
        raise _unusable(wanted, str(error).strip().partition("\n")[0]) from None
    if found < wanted:
        raise _unusable(wanted, f"torch finds {found}")


def _unusable(wanted: int, why: str) -> InputError:
    import torch

    built = (
        f"torch {torch.__version__} is built for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'no CUDA'}"
    )
    expected = "expected a driver of that version or later on the node, or gpu: 0 in the line's section cluster"
    return InputError(f"GPU: {wanted} asked for and not usable ({why}); {built}, {expected}")
