"""`vigil deploy`: a line's champion, or another version of it, on KServe."""

import os
from pathlib import Path
from typing import Annotated

import typer

from components.errors import check
from pipelines.terminal import console

_URI = "MLFLOW_TRACKING_URI"


def deploy(
    line: Annotated[str, typer.Argument(metavar="LINE", help="Name of the line and of its registered model.")],
    alias: Annotated[
        str, typer.Option(help="Alias, such as champion or challenger, or number of the version.")
    ] = "champion",
    namespace: Annotated[str, typer.Option(help="Namespace of the InferenceService.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the InferenceService, and change nothing.")] = False,
    values: Annotated[
        bool, typer.Option("--values", help="Print it as values of the chart, and change nothing.")
    ] = False,
    canary_percent: Annotated[
        int, typer.Option(min=0, max=99, help="Share of the requests for this version, the rest for the one before.")
    ] = 0,
    artifacts: Annotated[
        str,
        typer.Option(envvar="VIGIL_MLFLOW_ARTIFACTS", help="Store behind the tracking server, such as s3://mlflow."),
    ] = "",
    runtime: Annotated[str, typer.Option(help="ServingRuntime, RELEASE-serving of the chart.")] = "vigil-serving",
    min_replicas: Annotated[int, typer.Option(min=0, help="0 scales to zero.")] = 0,
    max_replicas: Annotated[int, typer.Option(min=1, help="Most replicas.")] = 3,
    service_account: Annotated[str, typer.Option(help="With the object store's keys, for KServe.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(envvar="KUBECONFIG", help="Access to Kubernetes.")] = None,
    tracking_uri: Annotated[str, typer.Option(envvar=_URI, help="MLflow's address.", show_default=False)] = "",
) -> None:
    """Serve a version of a line by KServe, as an InferenceService of the Open Inference Protocol (V2).

    Applied again, nothing changes as long as the alias names the same version. A canary is the version of another alias
    with a share of the requests; once it is the champion, `vigil deploy LINE` gives it all of them.
    """
    import yaml

    from components.registry.deployable import find_deployable
    from components.tracking.client import errors_in_one_line
    from pipelines.deployment.kserve import COLLECTION, Serving, chart_values, inference_service, shown

    check(bool(tracking_uri), "tracking URI", tracking_uri, f"--tracking-uri or {_URI}")
    check(bool(namespace) or dry_run or values, "namespace", namespace, "--namespace, or --dry-run")
    os.environ[_URI] = tracking_uri
    with errors_in_one_line():
        found = find_deployable(line, alias, artifacts)
    serving = Serving(
        runtime=runtime,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        service_account=service_account,
        canary_percent=canary_percent,
    )
    if values:
        typer.echo(yaml.safe_dump(dict(chart_values(found, serving)), sort_keys=False), nl=False)
        return
    item = inference_service(found, serving)
    if dry_run:
        typer.echo(yaml.safe_dump(shown(item), sort_keys=False), nl=False)
        return
    from pipelines.cluster.kubernetes import Kubernetes

    state = Kubernetes(kubeconfig).apply(COLLECTION.format(namespace=namespace), item)
    name = item["metadata"]["name"]
    console.print(f"{namespace}/{name}: version {found.version} of {line}, {state}", soft_wrap=True)
