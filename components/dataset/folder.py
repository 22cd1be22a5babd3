"""Writes the images of a plain folder as an image set of good training images, such as pictures found on the web."""

from pathlib import Path
from typing import Any

from components.artifacts import ImageSet, file_sha256, new_image_set
from components.dataset.config import FolderConfig
from components.dataset.ingest import require_unchanged
from components.decode import IMAGE_SUFFIXES, decode_image
from components.errors import InputError
from components.storage.s3 import local_folder


def import_images(destination: str | Path, config: FolderConfig, expected_digest: str = "") -> dict[str, Any]:
    """Write the image set.

    Args:
        destination: artifact to write.
        config: settings.
        expected_digest: digest that the folder must still have, or empty.

    Returns:
        Number of images, and the digest of the set.

    Raises:
        InputError: the folder is missing, holds no image, or one is damaged.
        RuntimeError: the folder has changed since the expected digest was taken.
    """
    with local_folder(config.uri, "images", expected_digest) as folder, new_image_set(destination) as (writer, _):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise InputError(f"{config.uri}: no images, expected {' '.join(sorted(IMAGE_SUFFIXES))}")
        for index, path in enumerate(paths):
            image, _size = decode_image(path, config.image_size, f"image {path}")
            writer.add(image, id=f"image-{index:03d}", source=path.name, sha256=file_sha256(path))
        require_unchanged(config.uri, expected_digest)
    return {"images": len(paths), "imported_digest": ImageSet(destination).digest}
