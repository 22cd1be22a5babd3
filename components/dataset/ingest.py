"""Writes the reference image set, which is the drawn shots and the whole test split, and the set of a plain folder."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from components.artifacts import ImageSet, file_sha256, new_image_set, require_directory
from components.dataset.config import ALL_SHOTS, LOCO, Config, FolderConfig
from components.dataset.layouts import SourceImage, find_images
from components.dataset.regions import read_defect_types, read_regions
from components.decode import IMAGE_SUFFIXES, decode_image, decode_mask
from components.errors import InputError
from components.storage import s3


def dataset_digest(uri: str) -> str:
    """Digest of a data set's names and contents, the same in any listing order.

    A local folder is read; of an object store only names and entity tags are listed. `InputError` where it is missing.
    """
    if s3.is_s3(uri):
        return s3.digest(uri)
    root = Path(uri)
    require_directory(root, "dataset")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(root).as_posix()}\t{file_sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def ingest_dataset(reference: str | Path, config: Config, expected_digest: str = "") -> dict[str, Any]:
    """Write the reference image set; returns its counts per split and label, and its digest.

    The artifact is kept for later runs under `expected_digest`, which the data set must still have, unless it is empty.

    Raises:
        InputError: the data set is not in the layout, or one of its files is damaged.
        RuntimeError: the data set has changed since the expected digest was taken.
    """
    with s3.local_folder(config.uri, "dataset", expected_digest) as root, new_image_set(reference) as (writer, _):
        sources = find_images(root, config)
        defect_types = read_defect_types(root) if config.layout == LOCO else {}
        for source in draw_shots(sources, config):
            image, original_size = decode_image(source.path, config.image_size, f"image {source.path}")
            masks, to_size = source.masks, (original_size, config.image_size)
            writer.add(
                image,
                id=source.id,
                split=source.split,
                label="bad" if source.defect else "good",
                defect=source.defect,
                source=source.path.relative_to(root).as_posix(),
                sha256=file_sha256(source.path),
                mask=decode_mask(masks, *to_size) if masks else None,
                regions=read_regions(masks, defect_types, *to_size) if defect_types else (),
            )
        _require_unchanged(config.uri, expected_digest)
    images = ImageSet(reference)
    kinds = (("train", "good"), ("calibration", "good"), ("test", "good"), ("test", "bad"))
    counts = {f"{split}_{label}": len(images.ids(split, label)) for split, label in kinds}
    masked = sum(images.mask(id) is not None for id in images.ids("test", "bad"))
    return {**counts, "masks": masked, "reference_digest": images.digest}


def import_images(destination: str | Path, config: FolderConfig, expected_digest: str = "") -> dict[str, Any]:
    """Write the images of a plain folder as an image set of good training images, such as pictures found on the web.

    Returns the number of images, and the digest of the set. `expected_digest` is that of the folder, or empty.

    Raises:
        InputError: the folder is missing, holds no image, or one is damaged.
        RuntimeError: the folder has changed since the expected digest was taken.
    """
    with s3.local_folder(config.uri, "images", expected_digest) as root, new_image_set(destination) as (writer, _):
        paths = sorted(path for path in root.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise InputError(f"{config.uri}: no images, expected {' '.join(sorted(IMAGE_SUFFIXES))}")
        for index, path in enumerate(paths):
            image, _size = decode_image(path, config.image_size, f"image {path}")
            writer.add(image, id=f"image-{index:03d}", source=path.name, sha256=file_sha256(path))
        _require_unchanged(config.uri, expected_digest)
    return {"images": len(paths), "imported_digest": ImageSet(destination).digest}


def _require_unchanged(uri: str, expected_digest: str) -> None:
    """Check the digest of a local folder that was read; what comes from an object store is checked when fetched."""
    if expected_digest and not s3.is_s3(uri) and dataset_digest(uri) != expected_digest:
        raise RuntimeError(f"{uri}: the data set changed after the run began; run again")


def draw_shots(sources: list[SourceImage], config: Config) -> list[SourceImage]:
    """All images but the good training images that were not drawn.

    Drawn are the first `shots` of a permutation, by the seed, of the training images in sorted order. The calibration
    images come out of the data set's own validation images where it has some (MVTec LOCO AD), by a permutation with the
    same seed, and else out of the training images, after the shots. `InputError` where there are not as many.
    """
    import numpy as np

    def permuted(split: str) -> list[SourceImage]:
        chosen = [source for source in sources if source.split == split]
        return [chosen[index] for index in np.random.default_rng(config.seed).permutation(len(chosen))]

    train, validation = permuted("train"), permuted("validation")
    if config.shots > len(train):
        raise InputError(f"dataset.shots: got {config.shots}, expected at most {len(train)}, the good training images")
    spare = validation or train[max(config.shots, 1) :]
    if config.calibration > len(spare):
        where = "validation images" if validation else "beside the shots"
        raise InputError(f"dataset.calibration: got {config.calibration}, expected at most {len(spare)} {where}")
    reserved = 0 if validation else config.calibration
    shots = len(train) - reserved if config.shots == ALL_SHOTS else config.shots
    held_out = (validation or train[shots:])[: config.calibration]
    calibration = [dataclasses.replace(source, split="calibration") for source in held_out]
    rest = [source for source in sources if source.split != "train" and source not in held_out]
    return train[:shots] + calibration + rest
