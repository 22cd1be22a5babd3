"""The measured tables of the documents."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from components.artifacts import read_json
from components.errors import InputError
from pipelines.experiments.catalogue import EXPERIMENTS
from pipelines.experiments.measured import (
    DOCUMENTS,
    MEASURED,
    TABLES,
    block_text,
    markdown,
    printed,
    refresh,
    remake,
    request_of,
    summary,
)
from pipelines.experiments.request import Request
from tests.components.tabulation.tables import detector_table

ROOT = Path(__file__).parents[3]
Ask = Callable[..., Request]


def test_documents_print_the_figures_that_are_kept() -> None:
    measured = read_json(ROOT / MEASURED)
    tables = [found for name in DOCUMENTS for found in printed((ROOT / name).read_text(encoding="utf-8")).items()]
    assert tables
    assert tables == [(name, block_text(name, measured)) for name, _ in tables]
    assert (ROOT / MEASURED).stat().st_size < 100_000


def test_tables_are_of_known_experiments() -> None:
    assert {str(table["name"]) for table in TABLES.values()} <= EXPERIMENTS.keys()


def test_a_table_has_its_own_settings_beside_the_given_ones(ask: Ask) -> None:
    request = request_of("gain-128", ask("readme", settings=("vqgan.steps=3",), seeds="7"))
    assert (request.name, request.seeds) == ("gain", "7")
    assert request.settings == ("vqgan.steps=3", "dataset.image_size=128", "dataset.calibration=5")
    with pytest.raises(InputError, match="--tables: got 'gain', expected some of control-128"):
        request_of("gain", request)


def test_markdown_has_means_deviations_and_differences(ask: Ask) -> None:
    text = markdown(summary(detector_table(), ask("fig5")))
    head = "| detector | given | method | bolt | nut | mean | against none | by seed, 95 % | higher in | recovered |"
    assert text.splitlines()[0] == head
    last = (
        "| patchcore | 1 shot | generated | 0.880 ± 0.028 | 0.850 ± 0.071 | 0.865 ± 0.021 | +0.115 | - | 3 of 4 | - |"
    )
    assert text.splitlines()[-1] == last


def test_a_block_may_print_the_rows_of_one_detector(ask: Ask) -> None:
    table = pd.concat([detector_table(), detector_table().assign(detector="padim")])
    measured = {"gain-128": summary(table, ask("gain"))}
    whole, own = (block_text(name, measured).splitlines() for name in ("gain-128", "gain-128 of patchcore"))
    assert own[0] == whole[0].replace("| detector | given |", "| given |")
    assert own[2:] == [line.replace("| patchcore |", "|", 1) for line in whole if line.startswith("| patchcore |")]
    assert 2 < len(own) < len(whole)
    with pytest.raises(InputError, match=r"detector of gain-128: got 'cflow', expected one of padim; patchcore"):
        block_text("gain-128 of cflow", measured)


def test_tables_that_were_finished_are_kept_when_another_fails(ask: Ask, tmp_path: Path) -> None:
    def run(request: Request) -> pd.DataFrame:
        if "dataset.image_size=256" in request.settings:
            raise RuntimeError("killed")
        return detector_table()

    with pytest.raises(RuntimeError, match="killed"):
        remake(["control-128", "control-256"], ask("readme"), tmp_path, run)
    assert read_json(tmp_path / "readme.json").keys() == {"control-128"}
    assert remake(["gain-128"], ask("readme"), tmp_path, run).keys() == {"control-128", "gain-128"}


def test_a_document_is_renewed_in_its_blocks_alone(ask: Ask, tmp_path: Path) -> None:
    for name in DOCUMENTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    old = "<!-- measured fig5-256 -->\n| old |\n<!-- end of measured -->"
    (tmp_path / DOCUMENTS[0]).write_text(f"Before.\n\n{old}\n\nAfter.\n", encoding="utf-8")
    content = summary(detector_table(), ask("fig5"))
    refresh(tmp_path, {"fig5-256": content})
    text = (tmp_path / DOCUMENTS[0]).read_text(encoding="utf-8")
    assert text.startswith("Before.\n\n<!-- measured fig5-256 -->\n| detector | given |")
    assert text.endswith("|\n<!-- end of measured -->\n\nAfter.\n")
    assert printed(text) == {"fig5-256": markdown(read_json(tmp_path / MEASURED)["fig5-256"])}
    assert (tmp_path / DOCUMENTS[1]).read_text(encoding="utf-8") == (ROOT / DOCUMENTS[1]).read_text(encoding="utf-8")
