"""Contact sheets of a run's image sets, as data URIs."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import TREND, ImageSet, read_candidates, read_table
from components.pages.pictures import contact_sheet
from components.reporting.sources import Sources

if TYPE_CHECKING:
    from components.artifacts import UInt8Image


def contact_sheets(sources: Sources) -> dict[str, str]:
    """Sheets of the given, the augmented, the selected (`best`) and the least fitting generated images (`worst`)."""
    return {
        "given": contact_sheet(_train_images(sources.reference)),
        "augmented": contact_sheet(_train_images(sources.augmented)),
        "best": contact_sheet(_train_images(sources.selected)),
        "worst": contact_sheet(read_candidates(sources.candidates, worst_iteration(sources))),
    }


def worst_iteration(sources: Sources) -> int:
    """Iteration whose set is farthest from the best prompt."""
    trend = read_table(Path(sources.selected) / TREND)
    return int(trend["iteration"].iloc[int(trend["cosine"].argmin())])


def _train_images(path: str | Path) -> "list[UInt8Image]":
    images = ImageSet(path)
    return [images.image(id) for id in images.ids("train", "good")]
