"""The detector as an MLflow pyfunc, logged as code: nothing is pickled."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from components.detectors.serving import ServedDetector
from components.errors import InputError
from components.registry.requests import read_images


class RequestError(mlflow.exceptions.MlflowException):
    """A request without usable images: status 400, with one line, where MLflow's server would add the whole request."""

    def __init__(self, line: str) -> None:
        """Take the line."""
        super().__init__(line, error_code=INVALID_PARAMETER_VALUE)
        self._line = line

    def serialize_as_json(self) -> str:
        """Body of the response."""
        return json.dumps({"error_code": self.error_code, "message": self._line})


class DetectorModel(mlflow.pyfunc.PythonModel):
    """Scores a batch of images: arrays of any size, encoded images, base64 text or paths."""

    def load_context(self, context: Any) -> None:
        """Load the detector artifact."""
        self._detector = ServedDetector(Path(context.artifacts["detector"]))

    # MLflow would read type hints as a schema of its own.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Raw anomaly scores [n], whether each is over the threshold [n], and anomaly maps [n, height, width].

        The images are as `read_images` takes them; one that cannot be read raises `RequestError`. The parameter `maps`
        says whether the maps are returned, in the size that the detector was trained at: of the crop, with padding.
        """
        try:
            images = read_images(np.asarray(model_input), self._detector.preprocessing)
        except InputError as error:
            raise RequestError(str(error)) from error
        scores, maps = self._detector.score(images)
        found = {"score": scores, "anomalous": scores > self._detector.threshold}
        return {**found, "anomaly_map": maps} if (params or {}).get("maps", True) else found


mlflow.models.set_model(DetectorModel())
