from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.experiments.catalogue import cells
from pipelines.experiments.estimate import estimate, work
from pipelines.experiments.nodes import in_order
from pipelines.experiments.request import Request
from pipelines.experiments.running import Store
from tests.pipelines.experiments.conftest import TINY


def test_work_of_a_loop_is_the_number_of_images_that_pass(ask: Callable[..., Request]) -> None:
    nodes = in_order(cells("fig9", ask("fig9").study(for_cluster=False)))
    loop = next(node for node in nodes if node.stage == "vqgan")
    settings = loop.config
    images = settings.iterations * (2 * settings.steps * settings.batch_size + settings.images)
    assert work(loop) == pytest.approx(images / 16)


def test_work_of_a_painted_set_is_the_number_of_steps(ask: Callable[..., Request]) -> None:
    settings = (*TINY, "vqgan_clip.steps=7", "vqgan_clip.images=3")
    nodes = in_order(cells("table1", ask("table1", settings=settings).study(for_cluster=False)))
    assert {work(node) for node in nodes if node.stage == "vqgan_clip"} == {7 * 3 / 16}


def test_finished_tasks_give_the_rate_of_those_that_are_left(ask: Callable[..., Request], tmp_path: Path) -> None:
    study = ask("fig5", seeds="0,1,2").study(for_cluster=False)
    nodes, store = in_order(cells("fig5", study)), Store(root=tmp_path, threads=1)
    before = {row.family: row for row in estimate(nodes, store)}
    assert not before["vqgan"].measured
    loops = [node for node in nodes if node.stage == "vqgan"]
    store.output(loops[0]).mkdir(parents=True)
    store.finish(loops[0], 100.0)
    after = {row.family: row for row in estimate(nodes, store)}
    assert (after["vqgan"].tasks, after["vqgan"].finished, after["vqgan"].measured) == (3, 1, True)
    assert after["vqgan"].seconds == pytest.approx(200.0)
    assert after["detection patchcore"] == before["detection patchcore"]
