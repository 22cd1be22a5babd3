"""Checkpoints of a training loop, in a folder or an object store: tensors as safetensors, progress in their header."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import replacing
from components.errors import InputError
from components.storage import s3 as storage

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

CHECKPOINTS = "VIGIL_CHECKPOINTS"
"""Environment variable with the folder or `s3://BUCKET/PREFIX` of all checkpoints; without it there are none.

Where a checkpoint lies does not change what a loop gives, so it is no parameter of a stage.
"""

_STATE = "state.safetensors"
_PROGRESS = "progress"
_RANDOM = "random"


class Checkpoint:
    """What a killed loop needs to go on: a state, and files beside it."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        """Name the checkpoint's place below `VIGIL_CHECKPOINTS`.

        Args:
            identity: settings and digests of everything that the loop's digits depend on; another identity has
                another checkpoint.
        """
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        root = os.environ.get(CHECKPOINTS, "").rstrip("/")
        self._uri = f"{root}/{digest}" if root else ""

    def save(self, tensors: "Mapping[str, Tensor]", progress: Mapping[str, Any], *files: Path) -> None:
        """Keep the files, then the state, which makes them count; each is complete or not there.

        Args:
            tensors: state of the loop.
            progress: the rest of it, as JSON can hold it.
            files: kept under their names.
        """
        from safetensors.torch import save_file

        if not self._uri:
            return
        for file in files:
            self._keep(file)
        contiguous = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / _STATE
            save_file(contiguous, path, {_PROGRESS: json.dumps(progress)})
            self._keep(path)

    def load(self) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
        """Tensors and progress, or None where there is no checkpoint.

        Raises:
            InputError: the checkpoint is damaged.
        """
        from safetensors import SafetensorError, safe_open

        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / _STATE
            if not self._found(_STATE):
                return None
            self.fetch(_STATE, path.parent)
            try:
                with safe_open(path, "pt") as file:
                    tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
                    return tensors, json.loads(file.metadata()[_PROGRESS])
            except (SafetensorError, TypeError, KeyError) as error:
                raise InputError(f"checkpoint {self._uri}: damaged ({error}); delete it to start again") from error

    def fetch(self, name: str, directory: Path) -> None:
        """Copy a file of the checkpoint into a folder.

        Raises:
            InputError: an object store's object is missing.
            OSError: a local file is missing.
        """
        if storage.is_s3(self._uri):
            storage.fetch_object(f"{self._uri}/{name}", directory / name)
        else:
            shutil.copyfile(Path(self._uri) / name, directory / name)

    def remove(self) -> None:
        """Delete the checkpoint of a finished loop."""
        if storage.is_s3(self._uri):
            storage.remove_prefix(self._uri)
        elif self._uri:
            shutil.rmtree(self._uri, ignore_errors=True)

    def _found(self, name: str) -> bool:
        if storage.is_s3(self._uri):
            return storage.object_exists(f"{self._uri}/{name}")
        return bool(self._uri) and (Path(self._uri) / name).is_file()

    def _keep(self, path: Path) -> None:
        if storage.is_s3(self._uri):
            storage.publish_file(path, f"{self._uri}/{path.name}")
            return
        target = Path(self._uri) / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            shutil.copyfile(path, partial)


def optimizer_tensors(optimizer: "Optimizer", prefix: str) -> "dict[str, Tensor]":
    """State of an optimiser as named tensors; the settings of its groups come from the run's own."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: "Optimizer", tensors: "Mapping[str, Tensor]", prefix: str) -> None:
    """Inverse of `optimizer_tensors`; moments take the memory format of their parameters, on which digits depend."""
    import torch

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in strip_prefix(tensors, prefix).items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        kept = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[name] = kept
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_tensors() -> "dict[str, Tensor]":
    """States of torch's random generators as named tensors: the processor's, then those of the accelerators."""
    import torch

    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]
    return {f"{_RANDOM}.{index}": state for index, state in enumerate(states)}


def restore_random(tensors: "Mapping[str, Tensor]") -> None:
    """Inverse of `random_tensors`."""
    import torch

    named = strip_prefix(tensors, _RANDOM)
    processor, *accelerators = [named[key] for key in sorted(named, key=int)]
    torch.set_rng_state(processor)
    if accelerators:
        torch.cuda.set_rng_state_all(accelerators)


def strip_prefix(tensors: "Mapping[str, Tensor]", prefix: str) -> "dict[str, Tensor]":
    """The tensors whose names start with `PREFIX.`, without it."""
    start = f"{prefix}."
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
