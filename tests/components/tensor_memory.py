"""How many tensors are alive at the most, by what torch allocates and not by the memory of a machine."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def bytes_of(tensor: torch.Tensor) -> int:
    """Memory of a tensor's storage."""
    return tensor.untyped_storage().nbytes()


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storage of every tensor that is made inside of the context.

    `most` is the most at one time, `largest` the largest tensor, and `size` what a tensor counts for.
    """

    def __init__(self, size: Callable[[torch.Tensor], int] = bytes_of) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self.largest = 0
        self._size = size
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self, call: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = call(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                self._follow(leaf)
        return found

    def _follow(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._alive:
            self._alive[key] = size = self._size(tensor)
            weakref.finalize(storage, self._alive.pop, key, None)
            self.most, self.largest = max(self.most, sum(self._alive.values())), max(self.largest, size)
