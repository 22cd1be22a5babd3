"""The folder that the base model was trained on appears only when it is the recorded one."""

from pathlib import Path

import pytest

from components import generator
from components.errors import InputError
from tests.benchmarks.base_photographs import DIGEST, PHOTOGRAPHS, assemble

DEBIAN = [f"{origin}/{name}" for origin, names in PHOTOGRAPHS.items() if "usr/" in origin for name in names]


def test_page_of_the_base_model_names_the_same_folder() -> None:
    page = (Path(str(generator.__file__)).parent / "BASE_MODEL.md").read_text(encoding="utf-8")
    assert DIGEST in page
    assert f"{sum(len(names) for names in PHOTOGRAPHS.values())} photographs" in page


def test_missing_file_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"photographs: no file at {tmp_path}/unpacked/{DEBIAN[0]}"):
        assemble(tmp_path / "photographs", tmp_path / "unpacked")
    assert list(tmp_path.iterdir()) == []


def test_other_photographs_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    for name in DEBIAN:
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / name).write_text(name)
    with pytest.raises(InputError, match=f"photographs: digest: got '.*', expected {DIGEST}: a package has another"):
        assemble(tmp_path / "photographs", tmp_path / "unpacked")
    assert [path.name for path in tmp_path.iterdir()] == ["unpacked"]
