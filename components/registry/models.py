"""MLflow's model registry: the detector as a version of the line's registered model."""

import base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.tracking.run import StageRun

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


_PYFUNC = Path(__file__).with_name("pyfunc.py")
"""Code of the registered model, which MLflow runs by itself."""


def register_detector(
    run: StageRun,
    *,
    name: str,
    detector: Path,
    example: bytes,
    packages: list[str],
    metadata: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    """Log a detector at a stage's nested run as the model that the file `pyfunc.py` sets, and register it.

    The image file `example` is the input example, `packages` are pinned requirements. Returns the new version, which
    never is without its tags.
    """
    import mlflow
    import numpy as np
    from mlflow.models import Model

    with mlflow.start_run(run_id=run.run_id):
        info = Model.log(
            None,
            _Untried,
            name="detector",
            validate_serving_input=False,
            python_model=str(_PYFUNC),
            artifacts={"detector": str(detector)},
            code_paths=[str(Path(__file__).parents[1])],
            signature=detector_signature(),
            input_example=np.array([base64.b64encode(example).decode()], dtype=object),
            pip_requirements=packages,
            metadata=dict(metadata),
            registered_model_name=name,
            tags=dict(tags),
        )
    return str(info.registered_model_version)


class _Untried:
    """MLflow's pyfunc flavour for a model whose example is not tried when it is logged.

    The trial loads the detector, which is slow, and MLflow only warns where it fails; `mlflow.pyfunc.log_model` has no
    option to leave it out.
    """

    @staticmethod
    def save_model(**arguments: Any) -> None:
        """Save as `mlflow.pyfunc.save_model` does, which does not know `Model.log`'s own argument."""
        import mlflow

        arguments.pop("validate_serving_input")
        mlflow.pyfunc.save_model(**arguments)


def download_detector(line: str, version: str, directory: Path) -> Path:
    """Download the detector artifact of a version, without the rest of the model, below a directory."""
    import mlflow

    uri = f"models:/{line}/{version}"
    path = mlflow.models.get_model_info(uri).flavors["python_function"]["artifacts"]["detector"]["path"]
    return Path(mlflow.artifacts.download_artifacts(f"{uri}/{path}", dst_path=str(directory)))


def pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Everything that a search of MLflow's client finds, page by page."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def detector_signature() -> "ModelSignature":
    """Images in; anomaly scores [n], whether they are over the threshold [n], and maps [n, height, width] out.

    The inputs are objects of any kind, since images come as arrays of any size, as encoded files or as base64 text:
    the one tensor that MLflow hands on as it is.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    outputs = [
        TensorSpec(np.dtype(np.float32), (-1,), "score"),
        TensorSpec(np.dtype(np.bool_), (-1,), "anomalous"),
        TensorSpec(np.dtype(np.float32), (-1, -1, -1), "anomaly_map"),
    ]
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(object), (-1,))]),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec("maps", DataType.boolean, True)]),
    )
