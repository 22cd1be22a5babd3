"""Past runs from the folders of local runs, and the union of the histories of a line from several places."""

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from components.artifacts import RECORDS, read_json
from components.errors import InputError
from components.metrics.records import read_records
from components.registry.history import FINISHED, UNKNOWN, Conditions, LineHistory, PastRun, distinct_runs, read_history
from pipelines.local.workdir import STATE, Workdir


def read_workdir(root: Path, since: datetime | None = None) -> LineHistory:
    """Runs of a folder: from its MLflow database, or, when its runs were logged elsewhere, from its results.

    Results alone do not record the conditions of their run, so they are comparable with nothing else. Raises
    `InputError` where the folder holds no run of a line, and `OSError` where its database cannot be read.
    """
    folder = Workdir(root=root.resolve())
    state = read_json(folder.root / STATE) if (folder.root / STATE).is_file() else None
    if not isinstance(state, dict) or "line" not in state:
        raise InputError(f"workdir: {root} holds no run of a line")
    line, status = str(state["line"]), state.get("status", UNKNOWN)
    tracked = LineHistory(line=line, runs=())
    if folder.database.is_file():
        histories = read_history(folder.tracking_uri, None, since)
        tracked = next((one for one in histories if one.line == line), tracked)
    runs = list(tracked.runs)
    if not any(run.records for run in runs):
        known = {run.run_id for run in runs if run.status != FINISHED}
        results = []
        if status != FINISHED:
            results.append(_run(folder, line, str(state.get("run_id", UNKNOWN)), status, folder.root / STATE))
        if folder.metrics.is_file():
            run_id = str(state.get("run_id")) if status == FINISHED else f"{folder.root.name}/{RECORDS}"
            results.append(_run(folder, line, run_id, FINISHED, folder.metrics))
        runs += [run for run in results if run.run_id not in known]
    link = str(folder.root)
    chosen = [dataclasses.replace(run, link=link) for run in runs if since is None or run.started >= since]
    return dataclasses.replace(tracked, runs=distinct_runs(chosen))


def merge_histories(histories: Iterable[LineHistory]) -> list[LineHistory]:
    """One history for each line, every run once."""
    found: dict[str, LineHistory] = {}
    for history in histories:
        first = found.get(history.line, LineHistory(line=history.line, runs=()))
        found[history.line] = LineHistory(
            line=history.line,
            runs=distinct_runs((*first.runs, *history.runs)),
            versions=tuple(sorted({*first.versions, *history.versions}, key=lambda one: one.created, reverse=True)),
            drift=tuple(sorted({*first.drift, *history.drift}, key=lambda one: one.started, reverse=True)),
        )
    return [found[line] for line in sorted(found)]


def _run(folder: Workdir, line: str, id: str, status: str, file: Path) -> PastRun:
    time = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    records = tuple(read_records(file)) if file == folder.metrics else ()
    seed = records[0].seed if records else None
    unknown = Conditions(dataset=f"{UNKNOWN} ({folder.root})", shots=UNKNOWN, profile=UNKNOWN, version=UNKNOWN)
    return PastRun(
        line=line, run_id=id, status=status, started=time, ended=time, seed=seed, conditions=unknown, records=records
    )
