"""Registered versions with known figures, without the cost of a trained detector."""

from collections.abc import Callable

from mlflow import MlflowClient

from components.metrics.records import Record
from components.registry.gate import Decision, GateLimits, Measurement, decide
from components.registry.promotion import LineModel
from components.tracking.client import experiment_id

DIGEST = "d" * 64


def measurement(auroc: float, digest: str = DIGEST) -> Measurement:
    record = Record(detector="patchcore", training_set="none", seed=0, image_auroc=auroc, latency_ms=9.0)
    return Measurement(digest=digest, record=record, defect_auroc={"hole": auroc}, model_mb=1.0)


def add_version(line: str, auroc: float, digest: str = DIGEST) -> tuple[LineModel, str]:
    """Register a version as a run of the line does, but for the model itself."""
    client = MlflowClient()
    run = client.create_run(experiment_id(client, line))
    model = LineModel.create(line, run.info.run_id)
    source = f"{run.info.artifact_uri}/detector"
    number = str(client.create_model_version(line, source, run.info.run_id).version)
    model.describe(number, measurement(auroc, digest), GateLimits(), "r1")
    model.challenge()
    return model, number


def decide_and_carry_out(model: LineModel, number: str, auroc: float) -> Decision:
    """The gate's loop, with every champion measured on the same test split."""
    return decide_again_and_again(model, number, auroc)[0]


def decide_again_and_again(
    model: LineModel, number: str, auroc: float, read: Callable[[], object] = lambda: None
) -> tuple[Decision, int]:
    """As `decide_and_carry_out`, with the number of decisions that came too late.

    `read` is called once, between reading the standing and carrying out the decision on it.
    """
    outdated = 0
    while True:
        standing = model.standing()
        if not outdated:
            read()
        champion = None
        if standing.champion:
            found = model.measurement(standing.champion, DIGEST)
            assert found is not None
            champion = (standing.champion, found)
        decision = decide(GateLimits(), model.line, (number, measurement(auroc)), champion)
        if model.carry_out(standing, decision, by="run r1"):
            return decision, outdated
        outdated += 1
