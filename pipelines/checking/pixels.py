"""Looks at a sample of a data set's image and mask files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from components.dataset.config import Config
from components.dataset.masks import read_mask
from components.decode import NARROW_RANGE, NOTES, PAGES, decode_image
from components.errors import InputError
from components.listing.layouts import SourceImage
from components.listing.opened import DataSet
from pipelines.checking.findings import Findings, counted, some

if TYPE_CHECKING:
    from components.artifacts import UInt8Image

SAMPLE = 256
"""Most images of a data set whose pixels are looked at."""
SAMPLE_MEGAPIXELS = 200
"""Most millions of pixels of them, which bounds the time to some seconds."""
SIDE = 64
"""Side in pixels of the images that are compared."""
_TINY_SHARE = 1e-4
_STRETCHED = 1.1
_ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")

Thumbnails = Mapping[str, "UInt8Image"]
"""RGB images [SIDE, SIDE, 3] by the names of their files."""


def check_pixels(
    dataset: DataSet, sources: Sequence[SourceImage], config: Config, findings: Findings
) -> dict[str, "UInt8Image"]:
    """Decode a sample of the images with their masks, and return the images in small.

    A file that cannot be read is an error, as a run would read it; where the sample is not all, a run may find more.
    """
    thumbnails: dict[str, UInt8Image] = {}
    sizes, modes = Counter[tuple[int, int]](), Counter[str]()
    odd: dict[str, list[str]] = {}
    for source in _sample(dataset, sources):
        name = dataset.shown(source.name)
        try:
            path, most = dataset.path(source.name), config.max_megapixels
            thumbnail, size = decode_image(path, SIDE, f"image {name}", max_megapixels=most)
        except InputError as error:
            findings.add("error", "data.pixels", str(error))
            continue
        thumbnails[source.name] = thumbnail
        sizes[size] += 1
        mode, oddities = _stored(dataset, source)
        modes[mode] += 1
        if int(thumbnail.max()) - int(thumbnail.min()) < NARROW_RANGE:
            oddities.append("values that span less than a tenth of the range: dark, flat, or of another depth")
        for oddity in oddities:
            odd.setdefault(oddity, []).append(source.name)
        _check_masks(dataset, source, size, config, findings)
    shown_sizes = {f"{width}x{height}": number for (width, height), number in sizes.most_common()}
    findings.facts["pixels"] = {"looked_at": len(thumbnails), "sizes": shown_sizes, "modes": dict(modes.most_common())}
    for oddity, names in odd.items():
        findings.add("warning", "data.pixels", f"{counted(len(names), 'image')} with {oddity}: {some(names)}")
    _check_sizes(sizes, config, findings)
    return thumbnails


def _sample(dataset: DataSet, sources: Sequence[SourceImage]) -> list[SourceImage]:
    """Images evenly out of all, no more than their number and their pixels allow."""
    step = -(-len(sources) // SAMPLE) or 1
    chosen = list(sources[::step])
    if not chosen:
        return []
    width, height = _size(dataset, chosen[len(chosen) // 2])
    allowed = max(1, int(SAMPLE_MEGAPIXELS * 1e6 / max(width * height, 1)))
    return chosen[:: -(-len(chosen) // allowed)]


def _size(dataset: DataSet, source: SourceImage) -> tuple[int, int]:
    """Width and height that a file states; nothing of one that is no image."""
    from PIL import Image

    try:
        with Image.open(dataset.path(source.name)) as stored:
            return stored.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return 0, 0


def _stored(dataset: DataSet, source: SourceImage) -> tuple[str, list[str]]:
    """How an image that can be read is stored, and what is odd about that."""
    from PIL import Image

    with Image.open(dataset.path(source.name)) as stored:
        oddities = []
        if getattr(stored, "n_frames", 1) > 1:
            oddities.append(NOTES[PAGES])
        if stored.mode in _ALPHA_MODES or "transparency" in stored.info:
            oddities.append("transparency, which detectors do not see")
        if not stored.mode.startswith("I"):
            return f"8-bit {stored.mode}", oddities
        highest = int(stored.getextrema()[1])  # type: ignore[arg-type]
        return f"16-bit, {highest.bit_length()} bits used", oddities


def _check_masks(
    dataset: DataSet, source: SourceImage, size: tuple[int, int], config: Config, findings: Findings
) -> None:
    """Read the masks of an image as a run does."""
    files = [(dataset.path(name), dataset.shown(name)) for name in source.masks]
    if not files:
        return
    with findings.errors_as("data.masks"):
        share = float(read_mask(files, size, config.mask_threshold, empty=not source.defect).mean())
        if not source.defect and share:
            findings.add("error", "data.masks", f"mask {files[0][1]}: marks pixels of a good image, expected none")
        if source.defect and share < _TINY_SHARE:
            message = f"marks {share:.4%} of the image: less than a pixel may be left at {config.image_size} pixels"
            findings.add("note", "data.masks", f"mask {files[0][1]}: {message}")


def _check_sizes(sizes: Counter[tuple[int, int]], config: Config, findings: Findings) -> None:
    if len(sizes) > 1:
        found = [f"{width}x{height}" for (width, height), _ in sizes.most_common()]
        findings.add("note", "data.sizes", f"{len(sizes)} sizes of images: {some(found)}")
    stretched = [size for size in sizes if max(size) > _STRETCHED * min(size)]
    if stretched:
        width, height = max(stretched, key=lambda size: sizes[size])
        message = f"images of {width}x{height} are stretched to {config.image_size}x{config.image_size}"
        findings.add("note", "data.sizes", message)
    if sizes and max(max(size) for size in sizes) < config.image_size:
        width, height = sizes.most_common(1)[0][0]
        message = f"images of {width}x{height} are enlarged to dataset.image_size {config.image_size}"
        findings.add("note", "data.sizes", message)
