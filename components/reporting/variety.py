"""Diversity and fidelity of the image sets of a run."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from components.artifacts import ImageSet, candidate_iterations, candidate_sources, read_candidates, to_tensor
from components.metrics.variety import Variety, evenly_spaced, variety
from components.networks.patches import PatchNetwork
from components.preprocessing.transform import preprocessing_of
from components.reporting.sources import Sources


class _Measured:
    """Measures sets of images beside the given ones; in a tiled line, tiles beside tiles."""

    def __init__(self, reference: str | Path) -> None:
        self.reference = ImageSet(reference)
        self.preprocessing = preprocessing_of(self.reference)
        self.given = self.reference.ids("train", "good")
        self._shown = evenly_spaced(self.given)
        self._originals = self._pieces(self._shown)
        self._network = PatchNetwork()

    def of_given(self) -> Variety:
        """The given images beside each other."""
        return variety("given", self._originals, self._network, count=len(self.given))

    def held_out(self, ids: Sequence[str]) -> Variety:
        """Good images of the reference set that are not given."""
        shown = self._pieces(evenly_spaced(ids))
        tiles = len(self.preprocessing.tile_boxes)
        partners = [self._places(None, index % tiles) for index in range(len(shown))]
        return variety("held-out good", shown, self._network, self._originals, partners, len(ids))

    def image_set(self, name: str, path: str | Path) -> Variety:
        """An image set whose rows name the given image that each was made from."""
        images = ImageSet(path)
        rows = images.manifest.assign(tile=images.manifest.get("tile", -1)).set_index("id")
        ids = images.ids("train", "good")
        shown = evenly_spaced([id for id in ids if self._comparable(str(rows.loc[id, "source"]))])
        partners = [self._places(str(rows.loc[id, "source"]), int(rows.loc[id, "tile"])) for id in shown]
        return variety(name, images.tensor(shown), self._network, self._originals, partners, len(ids))

    def candidates(self, path: str | Path, iteration: int) -> Variety:
        """The set of one iteration of the loop."""
        arrays = read_candidates(path, iteration)
        sources = candidate_sources(path, iteration) or [""] * len(arrays)
        shown = evenly_spaced([index for index, source in enumerate(sources) if self._comparable(source)])
        images, partners = (
            to_tensor(arrays[index] for index in shown),
            [self._places(sources[index]) for index in shown],
        )
        return variety(f"iteration {iteration}", images, self._network, self._originals, partners, len(arrays))

    def _pieces(self, ids: Sequence[str]) -> Tensor:
        return self.preprocessing.cut(self.reference.tensor(ids))

    def _comparable(self, source: str) -> bool:
        """Whether an image was made from a given one that is shown, or from an unknown one."""
        return source in self._shown or source not in self.given

    def _places(self, source: str | None, tile: int = -1) -> list[int]:
        """Positions of the pieces of one given image, or of all where it is unknown; of one tile where that is."""
        count = len(self.preprocessing.tile_boxes)
        known = [self._shown.index(source)] if source in self._shown else range(len(self._shown))
        return [index * count + place for index in known for place in range(count) if tile in (-1, place)]


def image_sets(sources: Sources) -> dict[str, Variety]:
    """Figures of the given, the held-out (calibration), the augmented and the selected images, and of every iteration.

    The keys are `given`, `held_out`, `augmented`, `generated` (the selected images) and `iteration_000` and so on.
    """
    measured = _Measured(sources.reference)
    found = {"given": measured.of_given()}
    if calibration := measured.reference.ids("calibration", "good"):
        found["held_out"] = measured.held_out(calibration)
    found["augmented"] = measured.image_set("augmented", sources.augmented)
    found["generated"] = measured.image_set("generated, selected", sources.selected)
    for iteration in candidate_iterations(sources.candidates):
        found[f"iteration_{iteration:03d}"] = measured.candidates(sources.candidates, iteration)
    return found
