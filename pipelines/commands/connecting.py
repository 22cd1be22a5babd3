"""How the commands for a cluster reach it, and what they tell about its version."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from pipelines.terminal import errors

if TYPE_CHECKING:
    from pipelines.cluster.kubeflow import Kubeflow


def connect(host: str, namespace: str, token_file: Path | None, ca_file: Path | None, timeout: float) -> "Kubeflow":
    """Connect, and say on the standard error what the server's version may not support.

    Raises:
        InputError: no address, token, CA file or namespace where one is needed.
        ClusterError: the server does not answer, refuses, or is too old or too new.
    """
    from pipelines.cluster.kubeflow import Kubeflow
    from pipelines.cluster.transport import Connection

    cluster = Kubeflow(
        Connection(host=host, namespace=namespace, token_file=token_file, ca_file=ca_file, timeout=timeout)
    )
    if warning := cluster.version_warning():
        errors.print(f"warning: {escape(warning)}", soft_wrap=True)
    return cluster
