"""Checkpoints of loops: found again by what the loop depends on, in a folder and in an object store."""

from pathlib import Path

import pytest
import torch

from components.compute import device
from components.errors import InputError
from components.generator.checkpoint import (
    CHECKPOINTS,
    Checkpoint,
    optimizer_tensors,
    random_tensors,
    restore_optimizer,
    restore_random,
    strip_prefix,
)

STATE = {"a": torch.arange(3), "random": torch.get_rng_state()}
PROGRESS = {"steps": [{"total": 0.1 + 0.2}]}


def assert_kept(root: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, root)
    checkpoint = Checkpoint({"seed": 0})
    assert checkpoint.load() is None
    (folder / "set.tar").write_bytes(b"images")
    checkpoint.save(STATE, PROGRESS, folder / "set.tar")
    loaded = Checkpoint({"seed": 0}).load()
    assert loaded is not None
    tensors, progress = loaded
    assert progress == PROGRESS
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[key], value) for key, value in STATE.items())
    (folder / "again").mkdir()
    checkpoint.fetch("set.tar", folder / "again")
    assert (folder / "again" / "set.tar").read_bytes() == b"images"
    assert Checkpoint({"seed": 1}).load() is None
    checkpoint.remove()
    assert checkpoint.load() is None


def test_folder_keeps_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_kept(str(tmp_path / "checkpoints"), tmp_path, monkeypatch)


@pytest.mark.s3
def test_object_store_keeps_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    assert_kept(prefix, tmp_path, monkeypatch)


def test_without_a_place_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHECKPOINTS, raising=False)
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint({})
    checkpoint.save(STATE, PROGRESS)
    assert checkpoint.load() is None
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_damaged_checkpoint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path))
    checkpoint = Checkpoint({})
    checkpoint.save(STATE, PROGRESS)
    (state,) = tmp_path.rglob("*.safetensors")
    state.write_bytes(state.read_bytes()[:40])
    with pytest.raises(InputError, match=r"checkpoint .*: damaged .*; delete it to start again"):
        checkpoint.load()


def test_optimizer_goes_on_as_if_nothing_had_happened() -> None:
    ends = []
    for interrupted in (False, True):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(4))
        optimizer = torch.optim.Adam([weight], 0.1, (0.5, 0.9))
        for step in range(4):
            if interrupted and step == 2:
                kept = optimizer_tensors(optimizer, "adam")
                optimizer = torch.optim.Adam([weight], 0.1, (0.5, 0.9))
                restore_optimizer(optimizer, kept, "adam")
            optimizer.zero_grad()
            weight.square().sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        ends.append(weight.detach())
    assert torch.equal(*ends)


def test_moments_take_the_memory_format_of_their_parameters() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    kept = {name: value.contiguous() for name, value in optimizer_tensors(optimizer, "adam").items()}
    restore_optimizer(optimizer, kept, "adam")
    moment = optimizer.state[weight]["exp_avg"]
    assert moment.stride() == weight.stride()
    assert torch.equal(moment, kept["adam.0.exp_avg"])


def test_prefix_is_a_whole_word() -> None:
    tensors = {"model.a": torch.ones(1), "models.b": torch.ones(1), "model": torch.ones(1)}
    assert list(strip_prefix(tensors, "model")) == ["a"]


def test_random_generators_of_all_devices_are_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path))
    states = random_tensors()
    assert len(states) == 1 + torch.cuda.device_count()
    Checkpoint({}).save(states, {})
    drawn = torch.rand(3), torch.rand(3, device=device())
    loaded = Checkpoint({}).load()
    assert loaded is not None
    restore_random(loaded[0])
    assert torch.equal(torch.rand(3), drawn[0])
    assert torch.equal(torch.rand(3, device=device()), drawn[1])
