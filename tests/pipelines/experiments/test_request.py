from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import InputError
from pipelines.experiments.request import Request

Ask = Callable[..., Request]


def test_values_are_separated_by_commas(ask: Ask) -> None:
    study = ask("fig5", shots="1, 5,all", seeds="0,2", detectors="patchcore").study(for_cluster=True)
    assert (study.shots, study.seeds, study.line.detectors) == ([1, 5, 0], [0, 2], ("patchcore",))


def test_object_is_the_folders_name_with_spaces_unless_it_is_given() -> None:
    request = Request(name="fig5", data="s3://lines", classes=["a/metal_nut,01"], objects=["01=disc"])
    assert dict(request.study(for_cluster=True).classes) == {"a/metal_nut": "metal nut", "01": "disc"}


def test_settings_are_those_of_a_line() -> None:
    settings = ["vqgan.steps=3", "prompts.words=[head, thread]", "registration.metric=aupro"]
    line = Request(name="fig5", data="s3://lines", classes=["a"], settings=settings).line
    assert line.configs["vqgan"].steps == 3
    assert line.configs["prompts"].words == ("head", "thread")


def test_local_data_has_a_digest_and_a_clusters_has_its_address(ask: Ask, data: Path) -> None:
    local = next(iter(ask("fig5").study(for_cluster=False).groups())).reference.data
    remote = next(iter(ask("fig5").study(for_cluster=True).groups())).reference.data
    assert len(local) == 64
    assert remote == f"{data}/brick"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": [","]}, r"--classes: got \[','\], expected at least one folder"),
        ({"shots": "0"}, "--shots: got '0', expected whole numbers from 1 on"),
        ({"seeds": "a"}, "--seeds: got 'a', expected whole numbers from 0 on"),
        ({"copies": "-1"}, "--copies: got '-1'"),
        ({"settings": ["steps=3"]}, "--set: got 'steps=3', expected SECTION.FIELD=VALUE"),
        ({"settings": ["vqgan.steps"]}, "--set: got 'vqgan.steps', expected NAME=VALUE"),
        ({"settings": ["vqgan.stepz=3"]}, "vqgan.stepz"),
        ({"settings": ["vqgan.steps=three"]}, "vqgan.steps: got 'three'"),
        ({"objects": ["bolt=screw"]}, "--object: got 'bolt', expected one of brick"),
        ({"extra": ["web"]}, "--extra: got 'web', expected NAME=VALUE"),
        ({"detectors": "patchcor"}, "detectors: got 'patchcor'"),
        ({"profile": "none"}, "profile: got 'none'"),
        ({"data": "/no/such"}, "not a folder"),
    ],
)
def test_wrong_options_are_named(ask: Ask, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        next(iter(ask("fig5", **options).study(for_cluster=False).groups())).reference.key  # noqa: B018
