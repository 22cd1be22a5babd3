"""Looks for images that are both in training and in the test, where they flatter every figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.artifacts import file_sha256
from components.listing.files import readable
from components.listing.layouts import SourceImage
from components.listing.opened import DataSet
from pipelines.checking.findings import Findings, grouped, some
from pipelines.checking.pixels import Thumbnails

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float32]]

_NEAR = 2.0
"""Root mean square difference, of grey values to 255, below which two small images may be one photograph."""
_USUAL_SHARE = 0.25
"""Share of what unlike images of the data set differ by, below which they are one."""


def check_duplicates(
    dataset: DataSet, sources: Sequence[SourceImage], thumbnails: Thumbnails, findings: Findings
) -> None:
    """Find equal files among all images, and nearly equal ones among those that were looked at."""
    split = {source.name: "test" if source.split == "test" else "train" for source in sources}
    defect = {source.name: source.defect for source in sources}
    equal = _equal_files(dataset, list(split))
    across = [names for names in equal if len({split[name] for name in names}) > 1]
    for names in across[:3]:
        findings.add("warning", "data.duplicates", f"in training and in the test: {_shown(names)} are equal files")
    if len(across) > 3:
        findings.add("warning", "data.duplicates", f"{len(across) - 3} more files are in training and in the test")
    unlike = [names for names in equal if len({defect[name] for name in names}) > 1 and names not in across]
    for names in unlike[:3]:
        findings.add("warning", "data.duplicates", f"good and bad, or of two defects: {_shown(names)} are equal files")
    within = [names for names in equal if names not in across and names not in unlike]
    if within:
        findings.add("note", "data.duplicates", f"equal files within a split, {len(within)} times: {_shown(within[0])}")
    known = {name for names in across for name in names}
    near = _nearly_equal({name: thumbnails[name] for name in thumbnails if name not in known}, split)
    if near:
        pairs = some([f"{readable(train)} and {readable(test)}" for train, test in near])
        message = f"nearly equal images in training and in the test, {len(near)} times: {pairs}"
        findings.add("warning", "data.duplicates", message)
    findings.facts["duplicates"] = {"equal": equal, "nearly_equal": near}


def _shown(names: Sequence[str]) -> str:
    return some([readable(name) for name in names])


def _equal_files(dataset: DataSet, names: Sequence[str]) -> list[list[str]]:
    """Groups of equal files; only files of the same size are read."""
    sizes = grouped((str(dataset.path(name).stat().st_size), name) for name in names)
    alike = [name for group in sizes.values() if len(group) > 1 for name in group]
    digests = grouped((file_sha256(dataset.path(name)), name) for name in alike)
    return [group for group in digests.values() if len(group) > 1]


def _nearly_equal(thumbnails: Thumbnails, split: dict[str, str]) -> list[tuple[str, str]]:
    """Pairs of a training and a test image that differ far less than other images of the data set do."""
    import numpy as np

    names = {part: [name for name in thumbnails if split[name] == part] for part in ("train", "test")}
    if not all(names.values()) or len(thumbnails) < 4:
        return []
    train, test = (np.stack([_vector(thumbnails[name]) for name in names[part]]) for part in ("train", "test"))
    differences = _differences(train, test)
    own = _differences(test, test)
    np.fill_diagonal(own, np.inf)
    usual = float(np.median(np.concatenate([differences.min(axis=1), own.min(axis=1)])))
    found = np.argwhere(differences < min(_NEAR, _USUAL_SHARE * usual))
    return [(names["train"][row], names["test"][column]) for row, column in found.tolist()]


def _vector(thumbnail: Any) -> "Floats":
    vector: Floats = thumbnail.astype("float32").mean(axis=2).ravel()
    return vector


def _differences(some_images: "Floats", others: "Floats") -> "Floats":
    """Root mean square difference of every image [n, p] to every other [m, p]."""
    import numpy as np

    rows = [np.sqrt(np.square(others - image).mean(axis=1)) for image in some_images]
    found: Floats = np.stack(rows)
    return found
