"""Checkpoints of loops: found again by what the loop depends on, in a folder and in an object store."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from components.compute import device
from components.errors import InputError
from components.generator.checkpoint import CHECKPOINTS, Checkpoint, TrainingState

PROGRESS = {"steps": [{"total": 0.1 + 0.2}]}


def state_of(*values: int) -> TrainingState:
    """A state without networks: a tensor and no step."""
    return TrainingState(modules={}, optimizers={}, tensors={"a": torch.tensor(values)})


def assert_kept(root: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, root)
    checkpoint = Checkpoint({"seed": 0})
    state, other = state_of(1, 2, 3), state_of(0, 0, 0)
    assert checkpoint.load(other) is None
    (folder / "set.tar").write_bytes(b"images")
    state.step = 7
    checkpoint.save(state, PROGRESS, folder / "set.tar")
    assert Checkpoint({"seed": 0}).load(other) == PROGRESS
    assert (other.step, other.tensors["a"].tolist()) == (7, [1, 2, 3])
    (folder / "again").mkdir()
    checkpoint.fetch("set.tar", folder / "again")
    assert (folder / "again" / "set.tar").read_bytes() == b"images"
    assert Checkpoint({"seed": 1}).load(other) is None
    checkpoint.remove()
    assert checkpoint.load(other) is None


def test_folder_keeps_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_kept(str(tmp_path / "checkpoints"), tmp_path, monkeypatch)


@pytest.mark.s3
def test_object_store_keeps_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    assert_kept(prefix, tmp_path, monkeypatch)


def test_without_a_place_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHECKPOINTS, raising=False)
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint({})
    checkpoint.save(state_of(1), PROGRESS)
    assert checkpoint.load(state_of(1)) is None
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_damaged_checkpoint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path))
    checkpoint = Checkpoint({})
    checkpoint.save(state_of(1), PROGRESS)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"checkpoint .*: damaged .*; delete it to start again"):
        checkpoint.load(state_of(1))


@pytest.mark.parametrize("header", [{"progress": json.dumps(PROGRESS)}, {"format": "1"}, None])
def test_checkpoint_of_an_older_format_is_ignored_with_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    header: dict[str, str] | None,
) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path))
    checkpoint, state = Checkpoint({}), state_of(1)
    checkpoint.save(state, PROGRESS)
    (path,) = tmp_path.rglob("*.safetensors")
    save_file({"a": torch.tensor([5]), "step": torch.tensor(3)}, path, header)
    assert checkpoint.load(state) is None
    assert (state.step, state.tensors["a"].tolist()) == (0, [1])
    assert [record.getMessage() for record in caplog.records] == [
        f"checkpoint {path.parent} is of another format and is ignored"
    ]


class Quadratic:
    """Adam on the squares of two networks' weights; the name of one network begins with the other's."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.networks = {"net": nn.Conv2d(3, 4, 5).to(memory_format=torch.channels_last), "nets": nn.Linear(4, 4)}
        self.optimizers = {
            name: torch.optim.Adam(net.parameters(), 0.1, (0.5, 0.9)) for name, net in self.networks.items()
        }
        self.seen = torch.zeros(1)
        self.state = TrainingState(modules=self.networks, optimizers={**self.optimizers}, tensors={"seen": self.seen})

    def update(self) -> None:
        for name, network in self.networks.items():
            loss = sum((value * torch.rand(1)).square().sum() for value in network.parameters())
            self.optimizers[name].zero_grad()
            loss.backward()  # type: ignore[union-attr]
            self.optimizers[name].step()
        self.seen += torch.rand(1)
        self.state.step += 1


def test_loop_goes_on_as_if_nothing_had_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path))
    whole = Quadratic()
    for step in range(4):
        whole.update()
        if step == 1:
            Checkpoint({}).save(whole.state, {})
    resumed = Quadratic()
    assert Checkpoint({}).load(resumed.state) == {}
    while resumed.state.step < 4:
        resumed.update()
    ends = [loop.state.state() for loop in (whole, resumed)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    weights = [next(loop.networks["net"].parameters()) for loop in (whole, resumed)]
    states = [loop.optimizers["net"].state for loop in (whole, resumed)]
    moments = [state[weight]["exp_avg"] for state, weight in zip(states, weights, strict=True)]
    assert {moment.stride() for moment in moments} == {weights[0].stride()} != {moments[0].contiguous().stride()}


def test_random_generators_of_all_devices_are_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path))
    state = state_of(1)
    assert sum(name.startswith("random.") for name in state.state()) == 1 + torch.cuda.device_count()
    Checkpoint({}).save(state, {})
    drawn = torch.rand(3), torch.rand(3, device=device())
    assert Checkpoint({}).load(state) is not None
    assert torch.equal(torch.rand(3), drawn[0])
    assert torch.equal(torch.rand(3, device=device()), drawn[1])
