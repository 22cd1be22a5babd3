"""The command line as a fixture."""

from pathlib import Path

import pytest

from pipelines.cli import main
from tests.pipelines.vigil import Done, Vigil


@pytest.fixture
def vigil(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vigil:
    """Run `vigil` with arguments, in this process."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["vigil", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return Done(code=int(caught.value.code or 0), out=out, err=err)

    return run


@pytest.fixture
def bare_cluster(tmp_path: Path) -> Path:
    """Cluster settings that name no ConfigMap and no Secret, for packages that run on this machine."""
    path = tmp_path / "cluster.yaml"
    path.write_text("{config_map: '', s3_secret: '', mlflow_secret: ''}", encoding="utf-8")
    return path
