"""The configs' base: every wrong field in one line, what was expected, and descriptions."""

import inspect
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from components.augmentation.config import Config as AugmentationConfig
from components.change.config import ChangeLimits
from components.dataset.config import Config as DatasetConfig
from components.dataset.config import FolderConfig
from components.detectors.config import Config as DetectionConfig
from components.drift.config import Config as DriftConfig
from components.errors import InputError
from components.evaluation.config import Config as EvaluationConfig
from components.networks.embedding import CONSE_WEIGHTS
from components.pretraining.config import Config as PretrainingConfig
from components.prompts.config import Config as PromptsConfig
from components.quality.config import Config as QualityConfig
from components.registration.config import Config as RegistrationConfig
from components.registry.gate import GateLimits
from components.selection.config import Config as SelectionConfig
from components.settings import (
    Expected,
    Fraction,
    Integer,
    OneOf,
    Seed,
    Settings,
    Share,
    Texts,
    documented_by,
    expected,
)
from components.vqgan.config import Config as VqganConfig
from components.vqgan_clip.config import Config as VqganClipConfig

CONFIGS: tuple[type[Settings], ...] = (
    *(AugmentationConfig, ChangeLimits, DatasetConfig, FolderConfig, DetectionConfig, DriftConfig, EvaluationConfig),
    *(GateLimits, PretrainingConfig, PromptsConfig, QualityConfig, RegistrationConfig, SelectionConfig, VqganConfig),
    VqganClipConfig,
)
CLIP: dict[str, Any] = {"embedder": "open_clip:ViT-B-32", "embedder_weights": "clip"}


class Oven(Settings):
    """Settings with a field of each kind."""

    section: ClassVar = "oven"

    uri: str
    """Where it stands."""
    shape: Annotated[str, OneOf(("round", "square"))] = "round"
    """Of the plate."""
    width: Annotated[int, Field(ge=64, le=1024, multiple_of=32), Expected("{} pixels")] = 64
    """A field's description may span
    lines."""
    heat: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Above nothing."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Below one."""
    limit: Annotated[float, Field(ge=0), Expected("0 for no limit, or more")] = 0.0
    """In words."""
    fraction: Fraction = 0.5
    """Open."""
    share: Share = 1.0
    """Closed."""
    words: Texts = ()
    """A list."""
    sizes: Annotated[tuple[Integer, ...], Field(strict=False)] = (1, 2)
    """Whole numbers."""
    seed: Seed = 0
    """Of all stages."""


def message(config: type[Settings], **values: Any) -> str:
    with pytest.raises(InputError) as caught:
        config(**values)
    return str(caught.value)


def test_every_wrong_field_is_named_at_once() -> None:
    assert message(Oven, shape="oval", width=2000, seed=-1, wdth=64) == (
        "oven.uri: got None, expected a value; the key is missing; "
        "oven.shape: got 'oval', expected one of round, square; "
        "oven.width: got 2000, expected 64 to 1024 pixels, a multiple of 32; "
        "seed: got -1, expected 0 to 4294967295; "
        f"oven.wdth: unknown key, expected one of {', '.join(Oven.model_fields)}; did you mean width?"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shape", "one of round, square"),
        ("width", "64 to 1024 pixels, a multiple of 32"),
        ("heat", "above 0, at most 1"),
        ("decay", "0 or more, less than 1"),
        ("limit", "0 for no limit, or more"),
        ("fraction", "between 0 and 1"),
        ("share", "0 to 1"),
    ],
)
def test_range_in_words(name: str, text: str) -> None:
    assert expected(Oven.model_fields[name]) == text


@pytest.mark.parametrize(
    ("name", "value", "received", "kind"),
    [
        ("uri", 3, "3 (int)", "str"),
        ("width", "64", "'64' (str)", "int"),
        ("width", True, "True (bool)", "int"),
        ("width", 64.0, "64.0 (float)", "int"),
        ("heat", True, "True (bool)", "float"),
        ("heat", "0.5", "'0.5' (str)", "float"),
        ("words", "crack", "'crack' (str)", "list"),
        ("words", [1], "1 (int)", "str"),
        ("sizes", ["1"], "'1' (str)", "int"),
        ("sizes", [1.5], "1.5 (float)", "int"),
    ],
)
def test_types_are_not_converted(name: str, value: object, received: str, kind: str) -> None:
    assert message(Oven, **{"uri": "x", name: value}) == f"oven.{name}: got {received}, expected {kind}"


def test_whole_numbers_and_lists_of_kfp_are_taken() -> None:
    oven = Oven(uri="x", heat=1, words=["a", "b"], sizes=[64.0, 128])  # type: ignore[arg-type]
    assert (oven.heat, oven.words, oven.sizes) == (1.0, ("a", "b"), (64, 128))
    assert [type(size) for size in oven.sizes] == [int, int]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    assert message(Oven, uri="x", limit=value) == f"oven.limit: got {value}, expected 0 for no limit, or more"


def test_settings_never_change() -> None:
    oven = Oven(uri="x")
    with pytest.raises(ValidationError, match="frozen"):
        oven.width = 96
    assert hash(oven) == hash(Oven(uri="x"))


def test_copy_is_checked() -> None:
    oven = Oven(uri="x", width=96)
    assert oven.replace(shape="square") == Oven(uri="x", width=96, shape="square")
    with pytest.raises(InputError, match=r"^oven\.width: got 100, expected 64 to 1024 pixels, a multiple of 32$"):
        oven.replace(width=100)


def test_arguments_of_a_component_may_be_more_than_the_fields() -> None:
    arguments = {**dict(Oven(uri="x")), "words": ["a"], "line": "bolts"}
    assert Oven.from_arguments(arguments) == Oven(uri="x", words=("a",))


def test_fields_across_stages_stand_at_the_top_of_a_line() -> None:
    assert [Oven.key(name) for name in ("width", "seed", "embedder")] == ["oven.width", "seed", "embedder"]
    assert FolderConfig.key("uri") == "uri"


def test_descriptions_are_added_to_the_docstring_of_a_component() -> None:
    @documented_by(Oven)
    def bake(line: str, uri: str, width: int = 64) -> None:
        """Bake.

        Args:
            line: name.
        """

    assert inspect.getdoc(bake) == (
        "Bake.\n\nArgs:\n    line: name.\n    uri: Where it stands.\n    width: A field's description may span lines."
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__module__)
def test_every_field_is_described(config: type[Settings]) -> None:
    for name, field in config.model_fields.items():
        assert (field.description or "").endswith("."), name


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__module__)
def test_defaults_are_within_their_bounds(config: type[Settings]) -> None:
    required = {name: "x" for name, field in config.model_fields.items() if field.is_required()}
    given = {"sources": ("folder",)} if config is PretrainingConfig else {}
    defaults = dict(config(**required, **given))
    assert config(**defaults) == config(**required, **given)


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        (AugmentationConfig(), ()),
        (PromptsConfig(object="bolt"), CONSE_WEIGHTS),
        (PromptsConfig(object="bolt", **CLIP), ("clip",)),
        (VqganConfig(), ("efficientnet-lite0", "vqgan-small")),
        (VqganConfig(weights="none", perceptual="lpips"), ("vgg16",)),
        (VqganConfig(patience=2, **CLIP), ("clip", "efficientnet-lite0", "vqgan-small")),
        (VqganConfig(**CLIP), ("efficientnet-lite0", "vqgan-small")),
        (VqganClipConfig(object="bolt", weights="base", **CLIP), ("clip", "vqgan-small")),
        (DetectionConfig(vit_weights="vit"), ("efficientnet-lite0",)),
        (DetectionConfig(detector="anomalydino", vit_weights="vit"), ("efficientnet-lite0", "vit")),
        (DetectionConfig(detector="dinomaly"), ("efficientnet-lite0", "dinov2-small")),
        (DetectionConfig(detector="efficientad", teacher_weights="teacher"), ("efficientnet-lite0", "teacher")),
        (QualityConfig(inception="i3"), (*CONSE_WEIGHTS, "efficientnet-lite0", "i3")),
        (PretrainingConfig(sources=("x",)), ("efficientnet-lite0",)),
        (DriftConfig(), ("efficientnet-lite0",)),
    ],
)
def test_references_to_the_weights_that_a_stage_loads(config: Settings, weights: tuple[str, ...]) -> None:
    assert config.references == weights
