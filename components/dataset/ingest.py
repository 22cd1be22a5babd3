"""Writes the reference image set, which is the drawn shots and the whole test split, and the set of a plain folder."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from components.artifacts import CHOICE, ImageSet, Region, file_sha256, new_image_set, write_json
from components.dataset.config import Config, FolderConfig
from components.dataset.masks import decode_mask, read_mask
from components.dataset.regions import DefectType, read_defect_types, read_regions
from components.dataset.shots import choose_by_coverage, draw_shots
from components.decode import OUTSIDE, decode_image
from components.errors import InputError
from components.listing.files import readable
from components.listing.layouts import DEFECTS_CONFIG, PLAIN, SourceImage, check_good_alone
from components.listing.opened import DataSet, opened
from components.preprocessing.choice import Notices, choose
from components.preprocessing.transform import Preprocessing


def ingest_dataset(reference: str | Path, config: Config, expected_digest: str = "") -> dict[str, Any]:
    """Write the reference image set; returns its counts per split and label, and its digest.

    The artifact is kept for later runs under `expected_digest`, which the data set must still have, unless it is empty.

    Raises:
        InputError: the data set is not in the layout, or one of its files is damaged.
        RuntimeError: the data set has changed since the expected digest was taken.
    """
    with (
        new_image_set(reference) as (writer, folder),
        opened(config.uri, config.layout, "dataset", expected_digest) as dataset,
    ):
        defect_types, sources = _defect_types(dataset), dataset.sources(config.test_fraction)
        choice = choose_by_coverage(dataset, sources, config) if config.covers else None
        if choice is not None:
            write_json(folder / CHOICE, choice.to_content())
        drawn, notices = draw_shots(sources, config, choice.shots if choice else ()), Notices()
        files = {dataset.shown(source.name): dataset.path(source.name) for source in sources}
        given = [dataset.shown(source.name) for source in drawn if source.split == "train"]
        preprocessing = choose(config, files, given)
        preprocessing.write(folder)
        for source in drawn:
            path, name = dataset.path(source.name), dataset.shown(source.name)
            image = preprocessing.read(path, f"image {name}")
            marks = _marks(dataset, source, defect_types, image.size, config, preprocessing)
            notices.add((*image.notes, OUTSIDE) if "mask" in marks and marks["mask"] is None else image.notes, name)
            writer.add(
                image.pixels,
                id=source.id,
                split=source.split,
                label="bad" if source.defect else "good",
                defect=readable(source.defect),
                source=readable(source.name),
                sha256=file_sha256(path),
                **marks,
            )
        writer.leave_out(dataclasses.asdict(found) for found in dataset.listing.left_out)
    images = ImageSet(reference)
    kinds = (("train", "good"), ("calibration", "good"), ("test", "good"), ("test", "bad"))
    counts = {f"{split}_{label}": len(images.ids(split, label)) for split, label in kinds}
    masked = sum(images.mask(id) is not None for id in images.ids("test", "bad"))
    stated = {**preprocessing.stated(), **notices.report()}
    return {**counts, "masks": masked, "left_out": len(images.left_out), **stated, "reference_digest": images.digest}


def import_images(destination: str | Path, config: FolderConfig, expected_digest: str = "") -> dict[str, Any]:
    """Write the images of a plain folder as an image set of good training images, such as pictures found on the web.

    Returns the number of images, and the digest of the set. `expected_digest` is that of the folder, or empty.

    Raises:
        InputError: the folder is missing, holds no image or those of a test split, or one is damaged.
        RuntimeError: the folder has changed since the expected digest was taken.
    """
    with (
        new_image_set(destination) as (writer, _),
        opened(config.uri, PLAIN, "images", expected_digest) as folder,
    ):
        check_good_alone(folder.listing, config.uri, "images")
        for index, source in enumerate(folder.listing.sources):
            path = folder.path(source.name)
            image, _size = decode_image(path, config.image_size, f"image {folder.shown(source.name)}")
            writer.add(image, id=f"image-{index:03d}", source=readable(source.name), sha256=file_sha256(path))
        writer.leave_out(dataclasses.asdict(found) for found in folder.listing.left_out)
    images = ImageSet(destination)
    return {"images": len(images.manifest), "left_out": len(images.left_out), "imported_digest": images.digest}


def _defect_types(dataset: DataSet) -> dict[int, DefectType]:
    """Defect types of MVTec LOCO AD; none of a data set without their file."""
    if DEFECTS_CONFIG not in dataset.listing.others:
        return {}
    return read_defect_types(dataset.path(DEFECTS_CONFIG), dataset.shown(DEFECTS_CONFIG))


def _marks(
    dataset: DataSet,
    source: SourceImage,
    defect_types: Mapping[int, DefectType],
    original_size: tuple[int, int],
    config: Config,
    preprocessing: Preprocessing,
) -> dict[str, Any]:
    """Mask and regions of an image, as `ImageSetWriter.add` takes them; a good image has none.

    The mask of a defect that lies outside of the crop is None.
    """
    files = [(dataset.path(name), dataset.shown(name)) for name in source.masks]
    if not files:
        return {}
    if not source.defect:
        if read_mask(files, original_size, config.mask_threshold, empty=True).any():
            raise InputError(f"mask {files[0][1]}: marks pixels of a good image, expected none")
        return {}
    place = partial(preprocessing.place_mask, name=f"image {dataset.shown(source.name)}")
    regions: list[Region] = []
    if defect_types:
        regions = read_regions(files, defect_types, original_size, place)
        mask = place(read_mask(files, original_size, threshold=0, largest=1))
    else:
        mask = decode_mask(files, original_size, place, config.mask_threshold)
    return {"mask": mask if mask.any() else None, "regions": regions}
