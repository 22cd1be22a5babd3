from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.augmentation.config import Config as AugmentationConfig
from components.dataset.config import Config as IngestionConfig
from components.vqgan.config import Config as GeneratorConfig
from pipelines.experiments.catalogue import cells
from pipelines.experiments.nodes import Cell, Node, in_order
from pipelines.experiments.request import Request
from pipelines.experiments.running import Store
from tests.pipelines.experiments.conftest import TINY

UNTRAINED = GeneratorConfig(weights="none")


def reference(uri: str = "/data/bolt", data: str = "d1", **changes: Any) -> Node:
    return Node(stage="dataset", config=IngestionConfig(uri=uri, **changes), data=data)


def augmented(given: Node, **changes: Any) -> Node:
    return Node(stage="augmentation", config=AugmentationConfig(**changes), inputs={"reference": given})


def test_key_depends_on_settings_data_and_inputs() -> None:
    keys = [
        augmented(reference()).key,
        augmented(reference(), images=17).key,
        augmented(reference(shots=2)).key,
        augmented(reference(data="d2")).key,
    ]
    assert len(set(keys)) == len(keys)


def test_key_does_not_depend_on_where_the_data_lies() -> None:
    assert reference("/data/bolt").key == reference("s3://lines/bolt").key


def test_key_depends_on_the_stage_and_its_detectors() -> None:
    node = augmented(reference())
    assert replace(node, stage="image_folder").key != node.key
    assert replace(node, detectors=(reference(),)).key != node.key


def test_key_depends_on_the_weights_content(monkeypatch: pytest.MonkeyPatch) -> None:
    first = GeneratorConfig(weights="/w.safetensors#sha256=" + "0" * 64)
    second = first.replace(weights="/w.safetensors#sha256=" + "1" * 64)
    keys = {Node(stage="vqgan", config=config).key for config in (UNTRAINED, first, second)}
    assert len(keys) == 3


def efficientad_keys(ask: Callable[..., Request], folder: Path, detectors: str) -> set[str]:
    settings = (*TINY, f"detection.imagenet_dir={folder}")
    study = ask("fig5", detectors=detectors, settings=settings).study(for_cluster=False)
    return {node.key for node in in_order(cells("fig5", study)) if node.stage == "detection"}


def test_key_depends_on_the_content_of_efficientads_further_images(ask: Callable[..., Request], tmp_path: Path) -> None:
    for name in ("one", "same"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"1")
    first = efficientad_keys(ask, tmp_path / "one", "efficientad")
    assert efficientad_keys(ask, tmp_path / "same", "efficientad") == first
    others = efficientad_keys(ask, tmp_path / "one", "patchcore")
    (tmp_path / "one" / "a.png").write_bytes(b"2")
    assert not efficientad_keys(ask, tmp_path / "one", "efficientad") & first
    assert efficientad_keys(ask, tmp_path / "one", "patchcore") == others


def test_finished_tasks_count_for_their_number_of_threads_alone(tmp_path: Path) -> None:
    node, store = reference(), Store(root=tmp_path, threads=1)
    store.output(node).mkdir(parents=True)
    store.finish(node, 1.0)
    assert store.finished(node)
    assert not replace(store, threads=2).finished(node)


def test_tasks_come_once_with_parents_first() -> None:
    asked = [
        Cell(node=augmented(reference(), images=count), kind="pictures", class_name="bolt", shots=1, seed=0, method="")
        for count in (2, 3, 2)
    ]
    found = in_order(asked)
    assert [node.stage for node in found] == ["dataset", "augmentation", "augmentation"]


def test_labels_are_the_cells_names() -> None:
    cell = Cell(node=reference(), kind="trend", class_name="bolt", shots=1, seed=2, method="ours")
    assert cell.labels == {
        "kind": "trend",
        "class_name": "bolt",
        "shots": 1,
        "seed": 2,
        "method": "ours",
        "variant": "",
    }
