"""What an experiment is about: classes, shots and seeds, and the tasks that each combination of them has."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from components.dataset.config import ALL_SHOTS, COVERAGE, FolderConfig
from components.detectors.config import GOOD_IMAGES, NO_THRESHOLD, TRAINING_SETS
from components.detectors.table import DETECTORS
from components.listing.layouts import PLAIN
from components.listing.opened import ImageCounts
from components.quality.config import Config as QualityConfig
from components.tabulation.statistics import BASELINES
from components.vqgan_clip.config import Config as VqganClipConfig
from pipelines.experiments.nodes import Cell, Node
from pipelines.lines.line import Line

SHIFTED = "shifts+rotations"
MOST_SHIFTED = 5
"""Given images up to which tables show the training set `SHIFTED`: at the default step it has 128 images for each."""
CANDIDATES = (*TRAINING_SETS, "rotations+generated")
"""Training sets among which the proxy chooses."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Data and settings of an experiment."""

    line: Line
    """Settings of all stages; its data set gives the layout and the image size."""
    quality: QualityConfig
    """What is measured of image sets, and with which networks; each group's seed replaces its own."""
    vqgan_clip: VqganClipConfig
    """How VQGAN-CLIP paints; the line's generator, and each group's object and seed, replace its own."""
    root: str
    """Folder, or `s3://BUCKET/PREFIX`, below which the classes are."""
    classes: Mapping[str, str]
    """Object's name by class, a path below the root."""
    shots: Sequence[int]
    """Numbers of given images; 0 for all."""
    seeds: Sequence[int]
    copies: Sequence[int]
    """Numbers of generated images that Table 3 compares."""
    extra: Mapping[str, str]
    """Folders with further images of each class, such as of the web, by the name of the method."""
    thresholds: bool
    """Whether detectors get thresholds, and held-out images are scored."""
    digest: Callable[[str, str], str]
    """Digest of the data at an address, in a layout."""
    count: Callable[[str, str, float], ImageCounts | None]
    """Images at an address, in a layout and with a share of good images held out; None where they are not listed."""

    def groups(self) -> Iterator["Group"]:
        """Every combination of class, shots and seed."""
        for class_name, shots, seed in itertools.product(self.classes, self.shots, self.seeds):
            yield Group(study=self, class_name=class_name, shots=shots, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tasks on the same class, shots and seed."""

    study: Study
    class_name: str
    shots: int
    seed: int
    choose: str = ""
    """How the given images are taken; empty as the line says."""
    image_score: str = ""
    """How detectors score an image by its map; empty as the line says."""
    policy: str = ""
    """How the given images are augmented; empty as the line says."""

    @property
    def variant(self) -> str:
        """What tells the detectors of this group from those of another of the same class, shots and seed."""
        taken = {"": "", "random": "random shots", COVERAGE: "chosen shots"}[self.choose]
        return ", ".join(text for text in (self.image_score, taken) if text)

    @property
    def object(self) -> str:
        """W^o, the name of the inspected part."""
        return self.study.classes[self.class_name]

    def config(self, section: str, **changes: Any) -> Any:
        """Config of a stage, with this group's seed and object where the stage has them."""
        config = self.study.line.configs[section]
        own = {"seed": self.seed, "object": self.object}
        return config.replace(**{name: own[name] for name in own if hasattr(config, name)}, **changes)

    @cached_property
    def reference(self) -> Node:
        """The given images, and the test split."""
        uri = _below(self.study.root, self.class_name)
        taken = {"choose": self.choose} if self.choose else {}
        config = self.config("dataset", uri=uri, shots=self.shots, **taken)
        counts = self.study.count(uri, config.layout, config.test_fraction)
        return Node(stage="dataset", config=config, data=self.study.digest(uri, config.layout), counts=counts)

    @cached_property
    def prompts(self) -> Node:
        """The ranked prompts."""
        return self._node("prompts", self.config("prompts"))

    @cached_property
    def augmented(self) -> Node:
        """The augmented images."""
        config = self.config("augmentation", **({"policy": self.policy} if self.policy else {}))
        return self._node("augmentation", config, synthetic=self.synthetic)

    @cached_property
    def synthetic(self) -> Node:
        """The synthetic defects on the good images."""
        return self._node("defect_synthesis", self.config("defect_synthesis"))

    def candidates(self, **changes: Any) -> Node:
        """The candidate sets of a fine-tuning loop."""
        return self._node("vqgan", self.config("vqgan", **changes), augmented=self.augmented)

    def selected(self, candidates: Node, **changes: Any) -> Node:
        """A set selected from the candidates."""
        inputs = {"prompts": self.prompts, "candidates": candidates, "synthetic": self.synthetic}
        return self._node("selection", self.config("selection", **changes), **inputs)

    def from_text(self, prompt: str) -> Node:
        """Images made from a prompt alone, by VQGAN-CLIP."""
        generator = {name: getattr(self.config("vqgan"), name) for name in ("architecture", "weights", "codebook_size")}
        config = self.study.vqgan_clip.replace(object=self.object, prompt=prompt, seed=self.seed, **generator)
        return self._node("vqgan_clip", config, prompts=self.prompts)

    def further(self, name: str) -> Node:
        """Further images of the class out of a folder."""
        uri = _below(self.study.extra[name], self.class_name)
        config = FolderConfig(uri=uri, image_size=self.study.line.configs["dataset"].image_size)
        counts = self.study.count(uri, PLAIN, 0.0)
        return Node(stage="image_folder", config=config, data=self.study.digest(uri, PLAIN), counts=counts)

    def validated(self, selected: Node, method: str) -> Cell:
        """Measured detectors among which a line chooses, by what they make of synthetic defects."""
        return self._measured(CANDIDATES, selected, method)

    def baselines(self) -> Cell:
        """Measured detectors that were trained without generated images; given images repeat as often as augmented."""
        names = [name for name in BASELINES if name != SHIFTED or 0 < self.shots <= MOST_SHIFTED]
        return self._measured(names, self.augmented, "")

    def generated(self, selected: Node, method: str) -> Cell:
        """Measured detectors that were trained with an image set."""
        return self._measured(("generated",), selected, method)

    def full(self) -> Cell:
        """Measured detectors that were trained on all good images, entered under this group's names.

        All images are the same for every seed and way to choose, and so is the detector, of the study's first seed.
        """
        whole = replace(self, shots=ALL_SHOTS, seed=self.study.seeds[0], choose="random" if self.choose else "")
        node = whole._measured(("none",), whole.augmented, "").node
        return self.cell(node, "full", "")

    def quality(self, images: Node, method: str) -> Cell:
        """Quality of an image set."""
        config = self.study.quality.replace(seed=self.seed)
        return self.cell(self._node("quality", config, images=images), "quality", method)

    def cell(self, node: Node, kind: str, method: str) -> Cell:
        """A cell with this group's names."""
        name = self.class_name.rpartition("/")[2]
        return Cell(
            node=node,
            kind=kind,
            class_name=name,
            shots=self.shots,
            seed=self.seed,
            method=method,
            variant=self.variant,
        )

    def _node(self, stage: str, config: Any, **inputs: Node) -> Node:
        return Node(stage=stage, config=config, inputs={"reference": self.reference, **inputs})

    def _detector(self, detector: str, training_set: str, selected: Node) -> Node:
        """A detector; training sets without generated images do not read what is given as `selected`."""
        threshold = GOOD_IMAGES if self.study.thresholds else NO_THRESHOLD
        scored = {"image_score": self.image_score} if self.image_score else {}
        config = self.config("detection", detector=detector, training_set=training_set, threshold=threshold, **scored)
        inputs = {"reference": self.reference, "augmented": self.augmented, "selected": selected}
        inputs["synthetic"] = self.synthetic
        outside = config.imagenet_dir if "imagenet_dir" in DETECTORS[detector].reads else ""
        data = self.study.digest(outside, PLAIN) if outside else ""
        return Node(stage="detection", config=config, inputs=inputs, data=data)

    def _measured(self, training_sets: Sequence[str], selected: Node, method: str) -> Cell:
        trials = itertools.product(self.study.line.detectors, training_sets)
        detectors = tuple(self._detector(name, added, selected) for name, added in trials)
        config, inputs = self.config("evaluation"), {"reference": self.reference}
        node = Node(stage="evaluation", config=config, inputs=inputs, detectors=detectors)
        return self.cell(node, "predictions", method)


def _below(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"
