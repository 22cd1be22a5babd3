"""Writes the reference image set: the drawn shots and the whole test split, in one size."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from components.artifacts import ImageSet, file_sha256, new_image_set, require_directory
from components.dataset.config import ALL_SHOTS, LOCO, Config
from components.dataset.layouts import SourceImage, find_images
from components.dataset.regions import read_defect_types, read_regions
from components.decode import decode_image, decode_mask
from components.errors import InputError
from components.storage import s3


def dataset_digest(uri: str) -> str:
    """Digest of a data set's names and contents, the same in any listing order.

    A local folder is read; of an object store only names and entity tags are listed.

    Raises:
        InputError: the folder or prefix is missing or empty.
    """
    if s3.is_s3(uri):
        return s3.digest(uri)
    root = Path(uri)
    require_directory(root, "dataset")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(root).as_posix()}\t{file_sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def ingest_dataset(reference: str | Path, config: Config, expected_digest: str = "") -> dict[str, Any]:
    """Write the reference image set and count what it holds.

    Args:
        reference: artifact to write.
        config: settings.
        expected_digest: digest that the data set must still have, or empty: the artifact is kept for later runs under
            this digest.

    Returns:
        Counts per split and label, and the digest of the set.

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
        require_unchanged(config.uri, expected_digest)
    images = ImageSet(reference)
    kinds = (("train", "good"), ("calibration", "good"), ("test", "good"), ("test", "bad"))
    counts = {f"{split}_{label}": len(images.ids(split, label)) for split, label in kinds}
    masked = sum(images.mask(id) is not None for id in images.ids("test", "bad"))
    return {**counts, "masks": masked, "reference_digest": images.digest}


def require_unchanged(uri: str, expected_digest: str) -> None:
    """Check the digest of a local folder that has been read; what comes from an object store is checked when fetched.

    Raises:
        RuntimeError: it is not the expected one.
    """
    if expected_digest and not s3.is_s3(uri) and dataset_digest(uri) != expected_digest:
        raise RuntimeError(f"{uri}: the data set changed after the run began; run again")


def draw_shots(sources: list[SourceImage], config: Config) -> list[SourceImage]:
    """All images but the good training images that were not drawn.

    Drawn are the first `shots` of a permutation, by the seed, of the training images in sorted order. The calibration
    images come out of the data set's own validation images where it has some (MVTec LOCO AD), by a permutation with the
    same seed, and else out of the training images, after the shots.

    Raises:
        InputError: more images are asked for than there are.
    """
    train = _permuted(sources, "train", config.seed)
    validation = _permuted(sources, "validation", config.seed)
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


def _permuted(sources: list[SourceImage], split: str, seed: int) -> list[SourceImage]:
    import numpy as np

    chosen = [source for source in sources if source.split == split]
    return [chosen[index] for index in np.random.default_rng(seed).permutation(len(chosen))]
