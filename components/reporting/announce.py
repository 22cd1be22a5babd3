"""The notice of a finished run."""

from pathlib import Path

from components.artifacts import RECORDS
from components.metrics.records import read_records
from components.notices.webhook import Notice
from components.registry.nomination import registration_tags
from components.reporting.sources import Sources, best_trial
from components.stage.provenance import run_url


def finished_notice(sources: Sources, line: str, run_id: str, decided: dict[str, str]) -> Notice:
    """What people want to know of a run: its best detector, its figure, and what became of it.

    `decided` are the registration's tags where it was made up for just now; empty where the artifact has them.
    """
    trial = best_trial(sources)
    records = read_records(Path(sources.predictions) / RECORDS)
    auroc = next(record.image_auroc for record in records if record.trial == trial)
    known = {name.removeprefix("vigil."): value for name, value in registration_tags(sources.best).items()} | decided
    facts = {name: known[name] for name in ("model_version", "gate", "gate_reasons")}
    facts |= {"best": trial} | ({"image_auroc": f"{auroc:.4f}"} if auroc is not None else {})
    figure = f" with image AUROC {auroc:.4f}" if auroc is not None else ""
    version = f"version {known['model_version']}" if known["model_version"] else "not registered"
    text = f"{trial}{figure}; {version}, gate: {known['gate']}"
    return Notice(line=line, event="finished", text=text, run_id=run_id, link=run_url(), facts=facts)
