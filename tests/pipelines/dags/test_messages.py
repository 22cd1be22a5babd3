"""Tests of a package against the messages of the oldest and the newest server, by strict JSON, as the server reads it.

`messages-2.15.binpb` holds the file descriptors of kfp-pipeline-spec and kfp-kubernetes 2.15.0 (a `FileDescriptorSet`);
those of the installed packages are the newest. A server that does not know a field refuses the package
(backend/src/apiserver/template/v2_template.go), or every run of it (v2/compiler/argocompiler/container.go).
"""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, duration_pb2, struct_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2
from kfp.kubernetes import kubernetes_executor_config_pb2 as newest_executor
from kfp.pipeline_spec import pipeline_spec_pb2 as newest_pipeline

from pipelines.dags.package import write_package
from pipelines.lines.line import parse_line
from tests.pipelines.packages import documents

OLDEST = Path(__file__).with_name("messages-2.15.binpb")
EVERYTHING: dict[str, Any] = {
    "task": {"cpu": 2, "memory": "6Gi", "node_selector": {"pool": "cpu"}},
    "vqgan": {"gpu": 1, "shared_memory": "2Gi", "tolerations": [{"key": "gpu", "operator": "Exists"}]},
    "mlflow_secret": "mlflow",
    "ca_config_map": "plant-ca",
    "image_pull_secrets": ["registry"],
    "volumes": [{"claim": "weights", "path": "/mnt/weights"}],
    "cache": "/mnt/weights/cache",
    "labels": {"team": "vision"},
}
NEWER = {"run_as_user": 1234, "run_timeout_seconds": 86400, "ttl_seconds": 3600}
"""What the oldest server refuses."""
NONE = dict.fromkeys(NEWER, 0)


def pool_of(*files: bytes) -> DescriptorPool:
    """The messages of file descriptors, with those of protobuf that they use."""
    pool = DescriptorPool()
    for module in (duration_pb2, struct_pb2, status_pb2):
        for dependency in module.DESCRIPTOR.dependencies:
            pool.AddSerializedFile(dependency.serialized_pb)
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for content in files:
        pool.AddSerializedFile(content)
    return pool


@pytest.fixture(scope="module")
def servers() -> dict[str, DescriptorPool]:
    """Messages by server."""
    oldest = descriptor_pb2.FileDescriptorSet.FromString(OLDEST.read_bytes())
    newest = [module.DESCRIPTOR.serialized_pb for module in (newest_pipeline, newest_executor)]
    return {"oldest": pool_of(*(found.SerializeToString() for found in oldest.file)), "newest": pool_of(*newest)}


def compiled(folder: Path, cluster: dict[str, Any]) -> list[dict[str, Any]]:
    line = {"name": "bolts", "object": "bolt", "dataset": {"uri": "s3://lines/bolts"}, "cluster": cluster}
    write_package(folder / "package.yaml", parse_line(line, folder))
    return documents(folder / "package.yaml")


def read(pool: DescriptorPool, package: list[dict[str, Any]]) -> None:
    """Read a package as the server does: what it is made of, and every task's settings for Kubernetes."""

    def parsed(message: str, content: dict[str, Any]) -> None:
        ParseDict(content, GetMessageClass(pool.FindMessageTypeByName(message))(), descriptor_pool=pool)

    spec, platform = package
    parsed("ml_pipelines.PipelineSpec", spec)
    parsed("ml_pipelines.PlatformSpec", platform)
    for settings in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        parsed("kfp_kubernetes.KubernetesExecutorConfig", settings)


@pytest.mark.parametrize("server", ["oldest", "newest"])
def test_servers_read_the_package(servers: dict[str, DescriptorPool], tmp_path: Path, server: str) -> None:
    read(servers[server], compiled(tmp_path, {**EVERYTHING, **(NONE if server == "oldest" else NEWER)}))


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("run_as_user", "securityContext"),
        ("run_timeout_seconds", "activeDeadlineSeconds"),
        ("ttl_seconds", "resourceTtlOnCompletion"),
    ],
)
def test_oldest_server_refuses_what_came_later(
    servers: dict[str, DescriptorPool], tmp_path: Path, name: str, field: str
) -> None:
    package = compiled(tmp_path, {**NONE, name: NEWER[name]})
    read(servers["newest"], package)
    with pytest.raises(ParseError, match=f'no field named "{field}"'):
        read(servers["oldest"], package)
