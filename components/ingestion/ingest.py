"""Writes the reference image set: the drawn shots and the whole test split, in one size."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components import storage
from components.artifacts import ImageSet, ImageSetWriter, file_sha256, new_image_set, require_directory
from components.errors import InputError
from components.ingestion.config import ALL_SHOTS, Config
from components.ingestion.decode import decode_image, decode_mask
from components.ingestion.layouts import SourceImage, find_images


def dataset_digest(uri: str) -> str:
    """Digest of a data set's names and contents, the same in any listing order.

    A local folder is read; of an object store only names and entity tags are listed.

    Raises:
        InputError: the folder or prefix is missing or empty.
    """
    if storage.is_s3(uri):
        return storage.digest(uri)
    root = Path(uri)
    require_directory(root, "dataset")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(root).as_posix()}\t{file_sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def ingest_dataset(reference: str | Path, config: Config) -> dict[str, Any]:
    """Write the reference image set and count what it holds.

    Args:
        reference: artifact to write.
        config: settings.

    Returns:
        Counts per split and label, and the digest of the set.

    Raises:
        InputError: the data set is not in the layout, or one of its files is damaged.
    """
    with _local_copy(config.uri) as root, new_image_set(reference) as (writer, _):
        sources = find_images(root, config)
        for source in draw_shots(sources, config):
            _add(writer, source, root, config.image_size)
    return _counts(ImageSet(reference))


def draw_shots(sources: list[SourceImage], config: Config) -> list[SourceImage]:
    """All images but the good training images that were not drawn.

    Drawn are the first `shots` of a permutation, by the seed, of the training images in sorted order.

    Raises:
        InputError: more shots are asked for than there are.
    """
    import numpy as np

    train = [source for source in sources if source.split == "train"]
    rest = [source for source in sources if source.split != "train"]
    if config.shots > len(train):
        raise InputError(f"dataset.shots: got {config.shots}, expected at most {len(train)}, the good training images")
    shots = len(train) if config.shots == ALL_SHOTS else config.shots
    order = np.random.default_rng(config.seed).permutation(len(train))
    return [train[index] for index in order[:shots]] + rest


def _add(writer: ImageSetWriter, source: SourceImage, root: Path, size: int) -> None:
    image, original_size = decode_image(source.path, size)
    writer.add(
        image,
        id=source.id,
        split=source.split,
        label="bad" if source.defect else "good",
        defect=source.defect,
        source=source.path.relative_to(root).as_posix(),
        sha256=file_sha256(source.path),
        mask=decode_mask(source.masks, original_size, size) if source.masks else None,
    )


@contextmanager
def _local_copy(uri: str) -> Iterator[Path]:
    if not storage.is_s3(uri):
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory() as directory:
        storage.fetch_prefix(uri, Path(directory))
        yield Path(directory)


def _counts(images: ImageSet) -> dict[str, Any]:
    return {
        "train_good": len(images.ids("train", "good")),
        "test_good": len(images.ids("test", "good")),
        "test_bad": len(images.ids("test", "bad")),
        "masks": sum(images.mask(id) is not None for id in images.ids("test", "bad")),
        "reference_digest": images.digest,
    }
