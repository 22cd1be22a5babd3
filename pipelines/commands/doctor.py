"""`vigil doctor`: what would keep lines from running on a cluster, each with its mend."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from components.errors import InputError, check
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.kubernetes import Kubernetes
from pipelines.cluster.transport import ClusterError
from pipelines.commands import options
from pipelines.doctor import installation, services
from pipelines.doctor.findings import FAILED, OK, UNKNOWN, WARNING, Finding
from pipelines.lines.cluster import Cluster
from pipelines.terminal import console

CHECKS = ("server", "retries", "proxies", "sidecars", "objects", "mlflow", "buckets")
_COLOURS = {OK: "green", WARNING: "yellow", FAILED: "red", UNKNOWN: "dim"}


def doctor(
    only: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help=f"One of {', '.join(CHECKS)}; may be repeated.")
    ] = None,
    bucket: Annotated[list[str] | None, typer.Option(metavar="s3://BUCKET", help="Further buckets.")] = None,
    test_task: Annotated[bool, typer.Option("--test-task", help="Run a small task on the cluster, too.")] = False,
    kfp_namespace: Annotated[str, typer.Option(help="Namespace of Kubeflow Pipelines.")] = "kubeflow",
    kubeconfig: Annotated[Path | None, typer.Option(envvar="KUBECONFIG", help="Access to Kubernetes.")] = None,
    host: options.Host = "",
    namespace: options.Namespace = "",
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 30.0,
    cluster_defaults: options.ClusterDefaults = None,
) -> None:
    """Say what would keep lines from running on a cluster, and how each is mended; exit with 1 where something would.

    It reads: the server's version, the retry policy of Argo's controller, proxies, sidecars, ConfigMaps and Secrets of
    the tasks, MLflow, and buckets. Nothing is changed; `--test-task` starts a run.
    """
    from pipelines.lines.line import load_cluster

    wanted = only or CHECKS
    for name in wanted:
        check(name in CHECKS, "only", name, f"one of {', '.join(CHECKS)}")
    patient = _Patient(
        connect=lambda: options.connect(host, namespace, token_file, ca_file, timeout),
        kubeconfig=kubeconfig,
        kfp_namespace=kfp_namespace,
        namespace=namespace or kfp_namespace,
        cluster=load_cluster(cluster_defaults),
        buckets=tuple(bucket or ()),
    )
    found = [finding for name in wanted for finding in _print(patient.findings(name))]
    if test_task:
        found += _print(patient.task())
    counts = {state: sum(finding.state == state for finding in found) for state in _COLOURS}
    console.print(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    if counts[FAILED]:
        raise typer.Exit(1)


@dataclass
class _Patient:
    """What is examined, and how it is reached."""

    connect: Callable[[], Kubeflow]
    kubeconfig: Path | None
    kfp_namespace: str
    namespace: str
    cluster: Cluster
    buckets: tuple[str, ...]
    report: Callable[[str], None] = field(default=lambda text: console.print(escape(text), soft_wrap=True))

    @cached_property
    def kubernetes(self) -> Kubernetes:
        """The API of Kubernetes."""
        return Kubernetes(self.kubeconfig)

    @cached_property
    def variables(self) -> dict[str, str]:
        """What this process has in its environment, and over it what tasks get, where that may be read."""
        try:
            found = installation.variables_of(self.kubernetes, self.namespace, self.cluster)
        except (ClusterError, InputError):  # as in the chart's test pod, which has what a task has
            found = {}
        return {**os.environ, **found}

    def findings(self, name: str) -> Iterator[Finding]:
        """Findings of a check; one of `unknown` where something that it needs is not reached."""
        steps: dict[str, Callable[[], Iterable[Finding]]] = {
            "server": lambda: [self.server()],
            "retries": lambda: [installation.retries(self.kubernetes, self.kfp_namespace)],
            "proxies": self.proxies,
            "sidecars": lambda: [installation.sidecars(self.kubernetes, self.namespace)],
            "objects": lambda: installation.objects(self.kubernetes, self.namespace, self.cluster),
            "mlflow": lambda: [services.mlflow(self.variables)],
            "buckets": lambda: services.buckets(self.variables, self.buckets),
        }
        try:
            yield from steps[name]()
        except (ClusterError, InputError) as error:
            mend = "--kubeconfig, and rights to read it" if name != "server" else "--host, --token-file"
            yield Finding(check=name, state=UNKNOWN, found=str(error), mend=mend)

    def server(self) -> Finding:
        """Whether the API of Kubeflow Pipelines answers, and is new enough."""
        try:
            cluster = self.connect()
        except (ClusterError, InputError) as error:
            mend = "--host, --namespace and --token-file; Kubeflow Pipelines of a supported release"
            return Finding(check="server", state=FAILED, found=str(error), mend=mend)
        if warning := cluster.version_warning():
            mend = "leave out the settings that it does not know, or upgrade it"
            return Finding(check="server", state=WARNING, found=warning, mend=mend)
        return Finding(check="server", state=OK, found=f"Kubeflow Pipelines {cluster.version}")

    def proxies(self) -> Iterable[Finding]:
        """Whether proxies leave out what is inside of the cluster."""
        variables = installation.variables_of(self.kubernetes, self.namespace, self.cluster)
        found = list(installation.proxies(self.kubernetes, self.kfp_namespace, variables))
        return found or [Finding(check="proxies", state=OK, found="none stands between tasks and the cluster")]

    def task(self) -> Iterator[Finding]:
        """The test task's finding."""
        from pipelines.doctor.task import run_test_task

        try:
            yield run_test_task(self.connect(), self.cluster, self.buckets, self.report)
        except (ClusterError, InputError) as error:
            yield Finding(check="task", state=FAILED, found=str(error), mend="--host, --namespace and --token-file")


def _print(findings: Iterable[Finding]) -> list[Finding]:
    """Print findings as they come."""
    seen = []
    for finding in findings:
        seen.append(finding)
        state = f"[{_COLOURS[finding.state]}]{finding.state}[/]"
        console.print(f"{finding.check}: {state}: {escape(finding.found)}", soft_wrap=True)
        if finding.mend and finding.state != OK:
            console.print(f"  mend: {escape(finding.mend)}", soft_wrap=True)
    return seen
