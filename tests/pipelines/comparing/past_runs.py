"""Past runs with known figures."""

from datetime import UTC, datetime, timedelta
from typing import Any

from components.metrics.records import Record
from components.registry.history import FINISHED, Conditions, LineHistory, ModelVersion, PastRun

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CONDITIONS = Conditions(dataset="a" * 64, shots="1", profile="embedded", version="1.0", settings=(("steps", "20"),))


def records(seed: int | None, detector: str = "patchcore", /, **aurocs: float | None) -> tuple[Record, ...]:
    """A record for each training set, with its image AUROC."""
    return tuple(
        Record(detector=detector, training_set=name, seed=seed, image_auroc=auroc, latency_ms=10.0)
        for name, auroc in aurocs.items()
    )


def past_run(
    run_id: str, days_ago: float = 1, seed: int | None = 0, aurocs: dict[str, float | None] | None = None, **fields: Any
) -> PastRun:
    """A finished run of the line `bolts`."""
    started = NOW - timedelta(days=days_ago)
    given: dict[str, Any] = {
        "line": "bolts",
        "run_id": run_id,
        "status": FINISHED,
        "started": started,
        "ended": started + timedelta(hours=1),
        "seed": seed,
        "conditions": CONDITIONS,
        "records": records(seed, **(aurocs or {})),
    }
    return PastRun(**given | fields)


def history(*runs: PastRun, **fields: Any) -> LineHistory:
    """History of the line `bolts`; runs newest first."""
    return LineHistory(line="bolts", runs=runs, **fields)


def version(number: int, *aliases: str, gate: str = "", gate_reasons: str = "") -> ModelVersion:
    """A version of the line's model."""
    created = NOW - timedelta(days=100 - number)
    return ModelVersion(
        registry="", number=number, aliases=aliases, created=created, gate=gate, gate_reasons=gate_reasons
    )
