"""The test task: in its pod, and the run of it."""

import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from components.task_environment import apply_task_environment, check_task_environment
from pipelines.cluster.following import SUCCEEDED, failure_of, follow_run
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.doctor import services
from pipelines.doctor.findings import FAILED, OK, Finding
from pipelines.lines.cluster import Cluster


def examine_task(buckets: Sequence[str]) -> None:
    """Ask MLflow and the object store as this process's environment says; `RuntimeError` names what is wrong."""
    apply_task_environment()
    check_task_environment()
    findings = [services.mlflow(os.environ), *services.buckets(os.environ, buckets)]
    for finding in findings:
        print(f"{finding.check}: {finding.state}: {finding.found}", flush=True)
    if failed := [f"{finding.found}; {finding.mend}" for finding in findings if finding.state == FAILED]:
        raise RuntimeError(" | ".join(failed))


def run_test_task(
    kubeflow: Kubeflow, cluster: Cluster, buckets: Sequence[str], report: Callable[[str], None]
) -> Finding:
    """Run the test task on the cluster, with the settings of all tasks, and wait for its end."""
    from pipelines.cluster.submission import digest_of
    from pipelines.dags.package import compile_package
    from pipelines.doctor.probe import PIPELINE_NAME, probe_pipeline

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.yaml"
        compile_package(path, probe_pipeline(cluster))
        version = kubeflow.upload_version(PIPELINE_NAME, f"probe-{digest_of(path.read_text(encoding='utf-8'))}", path)
    name = f"vigil doctor {datetime.now(tz=UTC):%Y-%m-%d %H:%M:%S}"
    run_id = kubeflow.create_run(name, kubeflow.experiment("vigil-doctor"), version, {"buckets": list(buckets)})
    page = kubeflow.run_url(run_id)
    run = follow_run(kubeflow, run_id, report)
    if run.state == SUCCEEDED:
        return Finding(check="task", state=OK, found=f"a task has reached what it needs: {page}")
    mend = f"the task's log says what: {page}"
    return Finding(check="task", state=FAILED, found=failure_of(run), mend=mend)
