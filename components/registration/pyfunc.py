"""The detector as an MLflow pyfunc, logged as code: nothing is pickled."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch

from components.detectors import Detector


class DetectorModel(mlflow.pyfunc.PythonModel):
    """Scores a batch of RGB images, uint8 [n, height, width, 3], of the size the detector was trained at."""

    def load_context(self, context: Any) -> None:
        """Load the detector artifact."""
        self._detector = Detector(Path(context.artifacts["detector"]))

    # MLflow would read type hints as a schema of its own.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Raw anomaly scores [n] and anomaly maps [n, height, width].

        Raises:
            ValueError: the images have another shape.
        """
        images = np.asarray(model_input)
        size = self._detector.image_size
        if images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ValueError(f"images: got shape {list(images.shape)}, expected [n, {size}, {size}, 3]")
        tensor = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 255
        scores, maps = self._detector.predict(tensor)
        return {"score": scores.numpy(), "anomaly_map": maps.numpy()}


mlflow.models.set_model(DetectorModel())
