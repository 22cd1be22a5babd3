from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.experiments.catalogue import cells
from pipelines.experiments.estimate import estimate, training_images, work
from pipelines.experiments.nodes import Cell, Node, in_order
from pipelines.experiments.request import Request
from pipelines.experiments.running import Store
from pipelines.lines.demo import DEFECTS, TEST_BAD, TEST_GOOD, TRAIN_TILES
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


def detectors_of(request: Request) -> dict[tuple[int, str], Node]:
    """Tasks that train detectors, by the number of given images and the training set."""
    found = cells(request.name, request.study(for_cluster=False))
    return {(cell.shots, node.config.training_set): node for cell in found for node in cell.node.detectors}


def test_training_images_are_counted_as_they_are_made(ask: Callable[..., Request]) -> None:
    found = detectors_of(ask("fig5", shots="1,2"))
    one = {name: training_images(node) for (shots, name), node in found.items() if shots == 1}
    # Of one given image: two augmented, two generated, one turn by 180 degrees, and 16 positions of the turns.
    expected = {"none": 1, "repeated": 3, "rotations": 2, "shifts+rotations": 32, "augmented": 3, "generated": 3}
    assert one == expected
    assert training_images(found[2, "augmented"]) == 2 + 4


def test_all_given_images_are_counted_by_the_listing(ask: Callable[..., Request]) -> None:
    found = detectors_of(ask("fig5", shots="1,all"))
    assert training_images(found[0, "none"]) == TRAIN_TILES
    assert work(found[0, "none"]) > work(found[1, "none"])
    spared = detectors_of(ask("fig5", shots="all", settings=(*TINY, "dataset.calibration=3")))
    assert training_images(spared[0, "none"]) == TRAIN_TILES - 3
    evaluation = next(node for node in in_order(cells_of_fig5(ask)) if node.stage == "evaluation")
    tests = TEST_GOOD + len(DEFECTS) * TEST_BAD
    assert work(evaluation) == pytest.approx((tests + 2 * 20) / 16 * len(evaluation.detectors))


def cells_of_fig5(ask: Callable[..., Request]) -> list[Cell]:
    return cells("fig5", ask("fig5").study(for_cluster=False))


def test_folds_of_a_threshold_are_trainings(ask: Callable[..., Request]) -> None:
    plain = work(detectors_of(ask("fig5", shots="5"))[5, "augmented"])
    folds = work(detectors_of(ask("fig5", shots="5", thresholds=True))[5, "augmented"])
    held_out = 5 + 5 * 9
    assert folds == pytest.approx(5 * plain + held_out / 16)


def test_steps_are_the_work_of_a_detector_that_is_optimised(ask: Callable[..., Request]) -> None:
    settings = (*TINY, "detection.cflow_steps=30", "detection.steps_images=4")
    found = detectors_of(ask("fig5", shots="1,all", detectors="cflow", settings=settings))
    assert work(found[0, "none"]) - work(found[1, "none"]) == pytest.approx(30 / 16)
    assert work(found[1, "augmented"]) == work(found[1, "none"])
