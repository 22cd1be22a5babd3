from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import InputError
from components.tabulation.descriptions import DESCRIPTIONS, OURS
from components.tabulation.gather import READERS
from components.tabulation.statistics import BASELINES
from pipelines.experiments.catalogue import EXPERIMENTS, cells
from pipelines.experiments.nodes import Cell, in_order
from pipelines.experiments.request import Request
from pipelines.experiments.study import CANDIDATES
from pipelines.lines.stages import STAGES
from tests.pipelines.experiments.conftest import TINY

Ask = Callable[..., Request]
LAYOUTS = {"fig6": "btad", "fig7": "loco"}


def cells_of(ask: Ask, name: str, **options: object) -> list[Cell]:
    """Cells on the demo's class; an address stands for its digest where the experiment is about another layout."""
    request = ask(name, layout=LAYOUTS.get(name, "mvtec"), **options)
    return cells(name, request.study(for_cluster=name in LAYOUTS))


def trained(found: list[Cell]) -> list[str]:
    return [str(node.config.training_set) for cell in found for node in cell.node.detectors]


def test_every_experiment_is_described() -> None:
    assert EXPERIMENTS.keys() == DESCRIPTIONS.keys()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_table_has_the_baselines_and_the_generated_set(ask: Ask, name: str) -> None:
    found = cells_of(ask, name)
    expected = {"proxy": {*CANDIDATES}, "control": {*BASELINES}}
    assert set(trained(found)) == expected.get(name, {*BASELINES, "generated"})
    assert {cell.kind for cell in found} <= READERS.keys()
    assert {node.stage for node in in_order(found)} <= STAGES.keys()


def test_proxy_chooses_among_detectors_that_are_trained_once(ask: Ask) -> None:
    found = cells_of(ask, "proxy", shots="1,all")
    assert [cell.kind for cell in found] == ["predictions", "choice"] * 2
    assert found[0].node is found[1].node
    synthetic = {node.inputs["synthetic"].key for node in found[0].node.detectors}
    assert len(synthetic) == 1
    assert [node.stage for node in in_order(found)].count("defect_synthesis") == 2


def test_table_3_ablates_text_copies_and_variance(ask: Ask) -> None:
    found = cells_of(ask, "table3", copies="1,2,4")
    methods = [cell.method for cell in found if cell.method]
    assert methods == ["without text", "generated", "1 copy", "2 copies", "4 copies", "without variance"]
    loops = [node.config for node in in_order(found) if node.stage == "vqgan"]
    assert [(config.variance, config.images) for config in loops] == [("estimated", 4), ("unit", 4)]
    rules = {cell.method: cell.node.detectors[0].inputs["selected"].config for cell in found if cell.method}
    assert (rules["without text"].rule, rules["generated"].rule) == ("last", "text")
    assert (rules["generated"].images, rules["1 copy"].images) == (2, 1)


def test_baselines_are_trained_once_for_all_methods(ask: Ask) -> None:
    nodes = in_order(cells_of(ask, "table3"))
    training = [node.config.training_set for node in nodes if node.stage == "detection"]
    assert [training.count(name) for name in BASELINES] == [1] * len(BASELINES)


def test_all_given_images_are_too_many_to_be_shifted(ask: Ask) -> None:
    found = {cell.shots: cell for cell in cells_of(ask, "fig5", shots="5,all") if not cell.method}
    assert {shots: set(BASELINES) - set(trained([cell])) for shots, cell in found.items()} == {
        5: set(),
        0: {"shifts+rotations"},
    }


def test_the_control_repeats_the_given_image_as_often_as_it_is_augmented(ask: Ask) -> None:
    (cell,) = [cell for cell in cells_of(ask, "fig5") if not cell.method]
    (control,) = [node for node in cell.node.detectors if node.config.training_set == "repeated"]
    assert control.inputs["selected"] is control.inputs["augmented"]


def test_table_1_takes_further_images_by_name(ask: Ask, data: Path) -> None:
    assert "web" not in {cell.method for cell in cells_of(ask, "table1")}
    found = [cell for cell in cells_of(ask, "table1", extra=[f"web={data}"]) if cell.method == "web"]
    assert [cell.kind for cell in found] == ["predictions", "pictures"]
    folder = found[1].node
    assert (folder.stage, folder.config.uri) == ("image_folder", f"{data}/brick")
    assert [node.inputs["selected"].key for node in found[0].node.detectors] == [folder.key]


def test_table_1_paints_three_prompts(ask: Ask) -> None:
    found = {cell.method: cell.node for cell in cells_of(ask, "table1") if cell.kind == "pictures"}
    painted = {method: node.config.prompt for method, node in found.items() if node.stage == "vqgan_clip"}
    assert painted == {
        "VQGAN-CLIP (only word)": "word",
        "VQGAN-CLIP (naive prompt)": "naive",
        "VQGAN-CLIP (best prompt)": "best",
    }


def test_table_1_compares_equal_numbers_of_images_too(ask: Ask) -> None:
    few = {cell.method: cell.node for cell in cells_of(ask, "table1") if cell.kind == "pictures"}
    assert (few["generated"].config.images, few["generated, as many as VQGAN-CLIP"].config.images) == (0, 1)
    equal = cells_of(ask, "table1", settings=(*TINY, "vqgan_clip.images=2"))
    assert "generated, as many as VQGAN-CLIP" not in {cell.method for cell in equal}
    many = {cell.method: cell.node for cell in cells_of(ask, "table1", settings=(*TINY, "vqgan_clip.images=5"))}
    more = many["generated, as many as VQGAN-CLIP"]
    assert (more.config.images, more.inputs["candidates"].config.images) == (5, 5)
    assert many["generated"].inputs["candidates"].config.images == 2


def test_figure_2_measures_the_set_of_every_iteration(ask: Ask) -> None:
    found = cells_of(ask, "fig2")
    for kind in ("predictions", "quality"):
        assert {"iteration 0", "iteration 1"} <= {cell.method for cell in found if cell.kind == kind}


def test_figure_5_spans_detectors_shots_and_seeds(ask: Ask) -> None:
    found = cells_of(ask, "fig5", shots="1,2,all", seeds="0,1")
    assert {(cell.shots, cell.seed) for cell in found} == {(shots, seed) for shots in (1, 2, 0) for seed in (0, 1)}


@pytest.mark.parametrize(("name", "layout"), LAYOUTS.items())
def test_experiments_about_a_data_set_need_its_layout(ask: Ask, name: str, layout: str) -> None:
    study = ask(name).study(for_cluster=True)
    with pytest.raises(InputError, match=f"--layout: got 'mvtec', expected '{layout}'"):
        cells(name, study)


def test_unknown_experiment_names_the_known_ones(ask: Ask) -> None:
    with pytest.raises(InputError, match="experiment: got 'table4', expected one of table1, table2"):
        cells("table4", ask("table4").study(for_cluster=False))


def test_seed_and_object_reach_every_stage(ask: Ask) -> None:
    found = cells_of(ask, "table3", seeds="7", objects=["brick=firebrick"])
    for node in in_order(found):
        assert getattr(node.config, "seed", 7) == 7
        assert getattr(node.config, "object", "firebrick") == "firebrick"
    stages = {node.stage: node.config for node in in_order(found)}
    assert (stages["vqgan"].seed, stages["prompts"].object) == (7, "firebrick")


@pytest.mark.parametrize(
    ("name", "thresholds", "expected"),
    [("fig5", False, "none"), ("fig5", True, "good-images"), ("proxy", False, "good-images")],
)
def test_thresholds_that_no_table_shows_are_left_out(ask: Ask, name: str, thresholds: bool, expected: str) -> None:
    found = cells_of(ask, name, thresholds=thresholds)
    assert {node.config.threshold for cell in found for node in cell.node.detectors} == {expected}


def test_eq_6_is_swept_by_both_readings(ask: Ask) -> None:
    found = cells_of(ask, "eq6")
    loops = {(node.config.mse_mean, node.config.mse_weight) for node in in_order(found) if node.stage == "vqgan"}
    assert loops == {("values", 0), *((mean, weight) for mean in ("values", "images") for weight in (0.1, 1, 10))}
    (ours,) = [cell for cell in found if cell.method == OURS and cell.kind == "quality"]
    loop = ours.node.inputs["images"].inputs["candidates"].config
    assert (loop.mse_mean, loop.mse_weight) == ("values", 1)


def test_gain_crosses_parts_with_scores_and_ways_to_take_the_shots(ask: Ask) -> None:
    found = cells_of(ask, "gain", seeds="3,4")
    variants = {f"{score}, {taken} shots" for score in ("max", "top1") for taken in ("random", "chosen")}
    assert {cell.variant for cell in found} == variants
    loops = [node.config for node in in_order(found) if node.stage == "vqgan" and node.config.seed == 3]
    parts = [("independent", "plain"), ("lowrank", "plain"), ("lowrank", "residual")]
    # Both scores are of the same sets, which the two ways to take the shots have apart.
    assert sorted((loop.covariance, loop.decode) for loop in loops) == sorted(2 * [*parts, parts[-1]])
    augmented = [node for node in in_order(found) if node.stage == "augmentation" and node.config.policy == "auto"]
    used = {cell.method for cell in found for node in cell.node.detectors if node.inputs["selected"] in augmented}
    assert used == {"augmented, auto"}
    for cell in found:
        score, taken, _ = cell.variant.replace(",", "").split()
        assert {node.config.image_score for node in cell.node.detectors} == {score}
        given = cell.node.inputs["reference"].config
        if cell.kind != "full":
            assert (given.shots, given.choose) == (1, {"random": "random", "chosen": "coverage"}[taken])


def test_all_good_images_are_trained_on_once(ask: Ask) -> None:
    whole = [cell for cell in cells_of(ask, "gain", seeds="3,4") if cell.kind == "full"]
    assert [cell.shots for cell in whole] == [1] * 8
    assert len({cell.node.key for cell in whole}) == 2
    assert {node.inputs["reference"].config.shots for cell in whole for node in cell.node.detectors} == {0}
