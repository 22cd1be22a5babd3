"""Options that the commands for a cluster share."""

from pathlib import Path
from typing import Annotated

import typer

TIME_ZONE = (
    "in the time zone of the cluster's scheduled-workflow controller: UTC unless CRON_SCHEDULE_TIMEZONE says other"
)
"""When schedules run."""

Host = Annotated[
    str,
    typer.Option(
        envvar=["KFP_HOST", "KF_PIPELINES_ENDPOINT"],
        show_default="inside a cluster, its own",
        help="Address of the Kubeflow Pipelines API.",
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
