"""Tasks that are forked from the warm process behave as those that a new interpreter runs."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kfp import dsl, local
from kfp.dsl import component_factory

from pipelines.local.warm import EXECUTOR, warm_tasks


@dsl.component(base_image="python", install_kfp_package=False)  # type: ignore[untyped-decorator]
def seen_by_task(value: str) -> str:
    """What a task sees of its process."""
    import os
    import sys
    from pathlib import Path

    print(f"argument {value}")
    print("to stderr", file=sys.stderr)
    seen = [os.environ["GREETING"], str(Path.cwd()), sys.stdin.read(), __name__]
    os.environ["GREETING"] = "changed by the task"
    return "|".join(seen)


@dsl.component(base_image="python", install_kfp_package=False)  # type: ignore[untyped-decorator]
def ended(how: str) -> str:
    """Ends its process without a result."""
    import os
    import signal
    import sys

    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)
    raise ValueError(how)


@pytest.fixture(autouse=True)
def warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GREETING", "hello")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path), enable_caching=False)
    with warm_tasks():
        yield


def test_executor_is_the_one_that_kfp_starts() -> None:
    assert EXECUTOR == component_factory.EXECUTOR_MODULE


def test_task_has_the_folder_environment_and_arguments_of_a_new_process(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for greeting in ("hello", "again"):
        monkeypatch.setenv("GREETING", greeting)
        expected = f"{greeting}|{Path.cwd()}||ephemeral_component"
        assert seen_by_task(value="one two").output == expected
    printed = capfd.readouterr().out
    assert "argument one two" in printed
    assert "to stderr" in printed
    assert os.environ["GREETING"] == "again"


@pytest.mark.parametrize("how", ["killed", "exit", "raised"])
def test_task_that_ends_without_a_result_fails(how: str) -> None:
    with pytest.raises(RuntimeError, match="finished with status"):
        ended(how=how)
    assert seen_by_task(value="next").output.startswith("hello|")


def test_process_ends_with_the_block() -> None:
    before = set(psutil.Process().children(recursive=True))
    with warm_tasks():
        seen_by_task(value="one")
        assert set(psutil.Process().children(recursive=True)) - before
    assert set(psutil.Process().children(recursive=True)) <= before


def test_task_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with warm_tasks():
        seen_by_task(value="one")
        with pytest.raises(RuntimeError):
            ended(how="raised")
    assert list(folder.iterdir()) == []
