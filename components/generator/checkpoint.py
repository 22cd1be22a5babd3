"""Checkpoints of a training loop, in a folder or an object store: tensors as safetensors, progress in their header."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import replacing
from components.errors import InputError
from components.storage import s3
from components.storage.addresses import address, is_s3

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

CHECKPOINTS = "VIGIL_CHECKPOINTS"
"""Environment variable with the folder or `s3://BUCKET/PREFIX` of all checkpoints; without it there are none.

Where a checkpoint is stored does not change the loop's results, so it is no parameter of a stage.
"""
FORMAT = "2"
"""Raised when the tensors of a state get other names; a checkpoint of another format is ignored."""

_FILE = "state.safetensors"
_LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class TrainingState:
    """Everything that a loop's next step depends on, named once; the random generators are saved with it."""

    modules: "dict[str, nn.Module]"
    optimizers: "dict[str, Optimizer]"
    """Their moments are state; their settings come from the run's own config."""
    tensors: "dict[str, Tensor]"
    """Other tensors, changed in place."""
    step: int = 0

    def state(self) -> "dict[str, Tensor]":
        """The whole state as named tensors."""
        import torch

        generators = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]
        parts: dict[str, Mapping[Any, Tensor]] = {
            "step": {0: torch.tensor(self.step)},
            "random": dict(enumerate(generators)),
            "tensor": self.tensors,
        }
        parts |= {f"module.{name}": module.state_dict() for name, module in self.modules.items()}
        for name, optimizer in self.optimizers.items():
            moments = optimizer.state_dict()["state"]
            parts |= {f"optimizer.{name}.{index}": values for index, values in moments.items()}
        return {f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()}

    def load_state(self, tensors: "Mapping[str, Tensor]") -> None:
        """Inverse of `state`."""
        import torch

        self.step = int(tensors["step.0"])
        generators = _below("random", tensors)
        processor, *accelerators = [generators[key] for key in sorted(generators, key=int)]
        torch.set_rng_state(processor)
        if accelerators:
            torch.cuda.set_rng_state_all(accelerators)
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[f"tensor.{name}"])
        for name, module in self.modules.items():
            module.load_state_dict(_below(f"module.{name}", tensors))
        for name, optimizer in self.optimizers.items():
            _load_moments(optimizer, _below(f"optimizer.{name}", tensors))


class Checkpoint:
    """What a killed loop needs to resume: a state, and files beside it."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        """Find its place below `VIGIL_CHECKPOINTS` by settings and digests of all that the loop's digits depend on."""
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        root = address(os.environ.get(CHECKPOINTS, ""), CHECKPOINTS).rstrip("/")
        self._uri = f"{root}/{digest}" if root else ""

    def save(self, state: TrainingState, progress: Mapping[str, Any], *files: Path) -> None:
        """Save the files, then the state with its progress as JSON, which makes them count; each whole or absent."""
        from safetensors.torch import save_file

        if not self._uri:
            return
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.state().items()}
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / _FILE
            save_file(tensors, path, {"format": FORMAT, "progress": json.dumps(progress)})
            for file in (*files, path):
                if is_s3(self._uri):
                    s3.publish_file(file, f"{self._uri}/{file.name}")
                    continue
                Path(self._uri).mkdir(parents=True, exist_ok=True)
                with replacing(Path(self._uri) / file.name) as partial:
                    shutil.copyfile(file, partial)

    def load(self, state: TrainingState) -> dict[str, Any] | None:
        """Load the state; returns the progress, or None where there is none of this format. `InputError`: damaged."""
        from safetensors import SafetensorError, safe_open

        if is_s3(self._uri):
            found = s3.object_exists(f"{self._uri}/{_FILE}")
        else:
            found = bool(self._uri) and (Path(self._uri) / _FILE).is_file()
        if not found:
            return None
        with tempfile.TemporaryDirectory() as temporary:
            self.fetch(_FILE, Path(temporary))
            try:
                with safe_open(Path(temporary) / _FILE, "pt") as file:
                    header = file.metadata() or {}
                    if header.get("format") != FORMAT:
                        _LOG.warning("checkpoint %s is of another format and is ignored", self._uri)
                        return None
                    state.load_state({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (no mapping)
                    progress: dict[str, Any] = json.loads(header["progress"])
            except SafetensorError as error:
                raise InputError(f"checkpoint {self._uri}: damaged ({error}); delete it to start again") from error
        return progress

    def fetch(self, name: str, directory: Path) -> None:
        """Copy a file of the checkpoint into a folder; `InputError` or `OSError` where it is missing."""
        if is_s3(self._uri):
            s3.fetch_object(f"{self._uri}/{name}", directory / name)
        else:
            shutil.copyfile(Path(self._uri) / name, directory / name)

    def remove(self) -> None:
        """Delete the checkpoint of a finished loop."""
        if is_s3(self._uri):
            s3.remove_prefix(self._uri)
        elif self._uri:
            shutil.rmtree(self._uri, ignore_errors=True)


def _below(part: str, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The tensors whose names start with `PART.`, without it."""
    return {key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")}


def _load_moments(optimizer: "Optimizer", tensors: "Mapping[str, Tensor]") -> None:
    """Load tensors named `INDEX.NAME`; moments take the memory format of their parameters, on which digits depend."""
    import torch

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        like = torch.empty_like(parameters[int(index)])
        state.setdefault(int(index), {})[name] = like.copy_(value) if value.shape == like.shape else value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
