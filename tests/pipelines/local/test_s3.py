"""A whole local run of a line whose data set is in a real object store, and the runs after it."""

from pathlib import Path

import pytest
import yaml

from components.storage import s3
from pipelines.local.workdir import Workdir
from tests.conftest import MvtecTree
from tests.pipelines.local.test_run import run, stages_started, write_line
from tests.stages import STAGES


@pytest.mark.slow
@pytest.mark.s3
def test_unchanged_data_set_reuses_every_stage_and_a_changed_object_retrains(
    prefix: str, tmp_path: Path, mvtec_tree: MvtecTree
) -> None:
    root = mvtec_tree(name="stored")
    s3.publish_directory(root, prefix)
    line = write_line(tmp_path, root)
    content = yaml.safe_load(line.read_text(encoding="utf-8"))
    content["dataset"]["uri"] = prefix
    line.write_text(yaml.safe_dump(content), encoding="utf-8")

    assert set(_stages(line, tmp_path / "runs")) == STAGES
    assert _stages(line, tmp_path / "runs") == ["fingerprint", "conclusion"]

    changed = next((root / "train" / "good").iterdir())
    other = next(path for path in (root / "test" / "good").iterdir())
    changed.write_bytes(other.read_bytes())
    s3.publish_file(changed, f"{prefix}/{changed.relative_to(root).as_posix()}")
    assert set(_stages(line, tmp_path / "runs")) == STAGES


def _stages(line: Path, folder: Path) -> list[str]:
    """Stages that a run of the line computed."""
    log = Workdir(root=folder).log
    length = len(log.read_text()) if log.exists() else 0
    done = run(line, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return stages_started(log.read_text()[length:])
