"""The choice of an augmentation policy by the good images and the synthetic defects of a line.

A policy's bank holds the patches of some good images and of their augmentations. It is as good as the distance to its
nearest patch tells what lies inside synthetic defects from the most distant patches of good images that it does not
know, which decide an image's score. That is an AUROC of patches, over all folds: of a handful of good images, the AUROC
of images is too coarse to tell policies apart. Whole images are compared, reduced to 256 pixels where they are larger.
The images of one policy are joined by those of another, as long as that helps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import ImageSet
from components.augmentation.config import (
    CHANNELS,
    FLIPS,
    HUE,
    ROTATIONS,
    SCALE,
    SHIFTS,
    SMALL_ROTATIONS,
    Config,
)
from components.augmentation.policies import make_augmentations
from components.compute import seed_everything
from components.metrics.held_out import Fold, PatchDistances, bounded, folds, spread_defects
from components.metrics.validation import MIN_IMAGES
from components.networks.patches import distances_to, inside_masks, reduced
from components.preprocessing.transform import preprocessing_of
from components.settings import EITHER

if TYPE_CHECKING:
    from torch import Tensor

    from components.networks.patches import PatchNetwork

CANDIDATES = (SHIFTS, SCALE, SMALL_ROTATIONS, HUE, CHANNELS, FLIPS, ROTATIONS)
"""Policies that are chosen from."""
PRESUMING = (FLIPS, ROTATIONS)
"""Those that presume something of a part: that its mirror image is good, and that it lies in any direction."""
MOST_JOINED = 3
"""Most policies whose images are taken together."""
NONE = "none"

_MOST_KEPT, _MOST_COPIES = 4, 8


@dataclass(frozen=True, kw_only=True)
class PolicyChoice:
    """The policy that was chosen, and why."""

    policy: str
    reason: str
    """What it rests on, in a sentence."""
    auroc: dict[str, float]
    """Of patches, by the banks of each policy, of `none` and of `photometric`; empty where nothing was validated."""
    orientation_free: bool | None
    """Whether rotated images help to know unseen good ones by more than chance; None where that is unknown."""


def choose_policy(reference: str | Path, synthetic: str | Path | None, config: Config) -> PolicyChoice:
    """The policy whose bank tells synthetic defects from unseen good images best.

    The images of another policy are joined to those of the best one, up to `MOST_JOINED`, as long as the bank of all
    gets better. Policies of `PRESUMING` take part where their bank is better than the one without augmentations by more
    than the standard error of the difference; rotations by any angle also where the config says that a good part may
    lie in any direction. Where fewer than two good images can be held out nothing is validated, and `rotations` or
    `shifts` is taken, as the config says.
    """
    measured = _Measured(ImageSet(reference), synthetic, config)
    if not measured.enough:
        chosen = ROTATIONS if config.orientation_free else SHIFTS
        why = f"not validated: that takes {MIN_IMAGES} held-out good images with synthetic defects"
        return PolicyChoice(policy=chosen, reason=f"{why}; the default", auroc={}, orientation_free=None)
    alone = {name: measured.distances(name) for name in (NONE, "photometric", *CANDIDATES)}
    supported = {name for name in PRESUMING if alone[name].is_better_than(alone[NONE])}
    free = ROTATIONS in supported
    supported |= {ROTATIONS} if config.orientation_free else set()
    allowed = {name: alone[name] for name in CANDIDATES if name in supported or name not in PRESUMING}
    policy, joined = _best_joined(allowed)
    auroc = {name: distances.auroc for name, distances in {**alone, **joined}.items()}
    figures = f"AUROC of patches {auroc[policy]:.4f}, {auroc[NONE]:.4f} without augmentations"
    reason = f"by synthetic defects on {len(alone[NONE].good)} held-out good images: {figures}"
    return PolicyChoice(policy=policy, reason=reason, auroc=auroc, orientation_free=free)


def _best_joined(alone: dict[str, PatchDistances]) -> tuple[str, dict[str, PatchDistances]]:
    """The best policy, others joined to it one by one where that helps, and the distances of all that were joined."""
    policy = max(alone, key=lambda name: alone[name].auroc)
    found = {policy: alone[policy]}
    for _ in range(MOST_JOINED - 1):
        others = [name for name in alone if name not in policy.split(EITHER)]
        joined = {f"{policy}{EITHER}{name}": found[policy].united(alone[name]) for name in others}
        found |= joined
        best = max(joined, key=lambda name: joined[name].auroc)
        if joined[best].auroc <= found[policy].auroc:
            break
        policy = best
    return policy, found


@dataclass(frozen=True)
class _Patches:
    """Patches [n, dim] of one image of a fold, those inside the defect of a bad one, with distances to the bank."""

    source: str
    bad: bool
    patches: "Tensor"
    base: "Tensor"


class _Measured:
    """Distances of the patches of held-out good images, and of synthetic defects on them, to the banks of policies."""

    def __init__(self, reference: ImageSet, synthetic: str | Path | None, config: Config) -> None:
        self._reference = reference
        self._synthetic = ImageSet(synthetic) if synthetic is not None else None
        self._config = config
        self._content = preprocessing_of(reference).content_box.slices
        found = folds(reference.ids("train", "good"), reference.ids("calibration", "good"))
        marked = set() if self._synthetic is None else set(self._synthetic.manifest["source"])
        self.folds = bounded(found, _MOST_KEPT, marked)

    @property
    def enough(self) -> bool:
        """Whether as many good images with synthetic defects are held out as a comparison takes."""
        return sum(len(fold.held_out) for fold in self.folds) >= MIN_IMAGES

    def distances(self, policy: str) -> PatchDistances:
        """To the banks of a policy, of all folds."""
        import torch

        found: dict[bool, dict[str, list[Tensor]]] = {False: {}, True: {}}
        for fold, images in self._images.items():
            added = self._added(fold, policy)
            for image in images:
                own = image.base
                if added is not None:
                    own = torch.minimum(own, distances_to(added, image.patches))
                found[image.bad].setdefault(image.source, []).append(own)
        good, bad = (
            {source: torch.cat(own).double().cpu().numpy() for source, own in found[kind].items()}
            for kind in (False, True)
        )
        return PatchDistances(good=good, bad=bad)

    @cached_property
    def _network(self) -> "PatchNetwork":
        from components.networks.patches import PatchNetwork

        return PatchNetwork()

    @cached_property
    def _images(self) -> dict[Fold, list[_Patches]]:
        """The images that are compared, with their distances to the patches of the kept ones alone."""
        found = {}
        for fold in self.folds:
            bank = self._patches([self._image(self._reference, id) for id in fold.kept]).flatten(0, 1)
            rows = [(id, False, self._patches([self._image(self._reference, id)])[0]) for id in fold.held_out]
            rows += [(source, True, self._defect(id)) for source in fold.held_out for id in self._defects(source)]
            found[fold] = [_Patches(*row, distances_to(bank, row[2])) for row in rows]
        return found

    def _defects(self, source: str) -> list[str]:
        """Synthetic defects on an image."""
        assert self._synthetic is not None
        manifest = self._synthetic.manifest
        own = [str(id) for id in manifest[manifest["source"] == source]["id"]]
        return spread_defects(own, sum(len(fold.held_out) for fold in self.folds))

    def _defect(self, id: str) -> "Tensor":
        """Patches [n, dim] inside a synthetic defect."""
        import torch

        assert self._synthetic is not None
        image, mask = self._image(self._synthetic, id), self._synthetic.mask(id)
        assert mask is not None, id
        content = reduced(torch.from_numpy(mask[self._content].copy()).float().unsqueeze(0))
        return self._patches([image])[0][inside_masks(content.unsqueeze(0))[0]]

    def _added(self, fold: Fold, policy: str) -> "Tensor | None":
        """Patches [m, dim] of the augmentations of the kept images; drawn alike, whatever was drawn before."""
        if policy == NONE:
            return None
        seed_everything(self._config.seed)
        copies = min(self._config.images, _MOST_COPIES)
        augmented: list[Tensor] = []
        for id in fold.kept:
            image = self._image(self._reference, id)
            augmentations = make_augmentations(policy, copies, self._config.strength, *image.shape[1:])
            augmented += [augment(image) for augment in augmentations]
        return self._patches(augmented).flatten(0, 1)

    def _patches(self, images: "Sequence[Tensor]") -> "Tensor":
        """Patches [n, p, dim] of uint8 images [3, height, width] of one size."""
        import torch

        return self._network.fine(torch.stack(list(images)).float() / 255)

    def _image(self, images: ImageSet, id: str) -> "Tensor":
        """An image without its padding, uint8 [3, height, width], reduced where it is large."""
        import torch

        content = images.image(id)[self._content]
        return reduced(torch.from_numpy(content.copy()).permute(2, 0, 1))
