"""Options of the commands for a cluster, and the connection that they describe."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.transport import Connection
from pipelines.terminal import errors

TIME_ZONE = "in the time zone of the cluster's scheduled-workflow controller: UTC unless CRON_SCHEDULE_TIMEZONE is set"

_HOSTS = ["KFP_HOST", "KF_PIPELINES_ENDPOINT"]
Host = Annotated[
    str,
    typer.Option(
        envvar=_HOSTS, show_default="inside a cluster, its own", help="Address of the Kubeflow Pipelines API."
    ),
]
Namespace = Annotated[
    str,
    typer.Option(show_default="the pod's own", help="Namespace on a multi-user cluster; none on a single-user one."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(show_default="the service account's", help="File with a bearer token, read for each call."),
]
CaFile = Annotated[Path | None, typer.Option(envvar="SSL_CERT_FILE", help="Certificates of a private CA, PEM.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds until an answer of the API is given up.")]
Mounted = Annotated[bool, typer.Option("--mounted", help="Local paths of a line are mounted in the tasks' pods.")]
ClusterDefaults = Annotated[
    Path | None, typer.Option(help="YAML of the section `cluster` of all lines; a line's own overrides it.")
]
Package = Annotated[
    Path | None,
    typer.Option("--compile", metavar="PACKAGE.yaml", help="Write the pipeline for a cluster, run nothing."),
]


def connect(host: str, namespace: str, token_file: Path | None, ca_file: Path | None, timeout: float) -> Kubeflow:
    """Connect, and warn on the standard error of what the server's version may not support."""
    connection = Connection(host=host, namespace=namespace, token_file=token_file, ca_file=ca_file, timeout=timeout)
    cluster = Kubeflow(connection)
    if warning := cluster.version_warning():
        errors.print(f"warning: {escape(warning)}", soft_wrap=True)
    return cluster
