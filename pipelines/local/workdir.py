"""The working folder of a line's local runs: its owner, the run in progress, and the results."""

import fcntl
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.artifacts import read_json, replacing, write_json
from components.errors import InputError

FINISHED = "FINISHED"
STATE = "vigil.json"
"""File with the line that owns the folder, and the status of its last run."""


class Workdir:
    """Paths below a working folder."""

    def __init__(self, root: Path) -> None:
        """Name the paths; nothing is created."""
        self.root = root
        self.artifacts = root / "artifacts"
        """KFP's pipeline root."""
        self.checkpoints = (root / "checkpoints").resolve()
        """Checkpoints of loops that have not finished."""
        self.package = root / "pipeline.yaml"
        self.log = root / "run.log"
        self.report = root / "report.html"
        self.metrics = root / "metrics.json"
        """The records of the last finished run."""
        self.database = root / "mlflow.db"
        self.tracking_uri = f"sqlite:///{self.database}"
        self.spool = root / "tracking"
        """What is still to be recorded in MLflow."""

    def begin(self, line: str) -> str:
        """Id of the run: that of an unfinished earlier one, or a new one."""
        state = read_json(self.root / STATE) if (self.root / STATE).is_file() else {}
        run_id = state.get("run_id") if state.get("status") != FINISHED else None
        run_id = run_id or secrets.token_hex(4)
        self.set_status(line, run_id, "RUNNING")
        return str(run_id)

    def set_status(self, line: str, run_id: str, status: str) -> None:
        """Write the status of the run."""
        write_json(self.root / STATE, {"line": line, "run_id": run_id, "status": status})

    def publish(self, source: Path, target: Path) -> None:
        """Copy a result to its final name, complete or not at all."""
        with replacing(target) as partial:
            shutil.copyfile(source, partial)


@contextmanager
def open_workdir(root: Path, line: str) -> Iterator[Workdir]:
    """Lock the folder, created when missing, for one run of a line; `InputError` where it belongs to something else."""
    root = root.resolve()
    if root.exists() and not root.is_dir():
        raise InputError(f"workdir: {root} is a file, expected a folder")
    if root.is_dir() and any(root.iterdir()):
        if (root / STATE).is_file():
            state = read_json(root / STATE)
            owner = state.get("line") if isinstance(state, dict) else None
            if owner != line:
                raise InputError(f"workdir: {root} holds runs of line {owner!r}, expected {line!r} or an empty folder")
        elif [path.name for path in root.iterdir()] != [".lock"]:
            raise InputError(f"workdir: {root} is not empty and holds no run of a line")
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"workdir: {root} is in use by another run") from error
        yield Workdir(root=root)
