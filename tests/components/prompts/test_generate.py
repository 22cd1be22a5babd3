"""Prompts are ranked by their distance to the image, and the outlier rules drop what they say."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from skimage import data
from torch import Tensor

from components.artifacts import (
    PROMPT_KINDS,
    PROMPTS,
    REFERENCE_PROMPTS,
    SENSES,
    new_image_set,
    prompt_text,
    read_table,
)
from components.errors import InputError
from components.networks.embedding import ConseEmbedder
from components.prompts import generate
from components.prompts.config import Config
from components.prompts.generate import (
    generate_prompts,
    kept_by_rule,
    mean_image_vector,
    rank_prompts,
    reference_table,
)
from components.wordnet.words import RelatedWord, noun_senses
from tests.components.trees import noise

_IMAGE_VECTOR = torch.tensor([1.0, 0.0])


class PlaneEmbedder:
    """Puts a text at the angle known for its last word, and an image at the angle of its mean, in degrees."""

    name = "plane"
    digest = "0" * 64

    def __init__(self, degrees: Mapping[str, float]) -> None:
        self._degrees = degrees

    def embed_images(self, images: Tensor) -> Tensor:
        return _at([float(image.mean()) for image in images])

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return _at([self._degrees[text.split()[-1]] for text in texts])


def _at(degrees: Sequence[float]) -> Tensor:
    radians = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def _given(*words: str) -> list[RelatedWord]:
    return [RelatedWord(word=word, relation="given", synset="", gloss="") for word in words]


def _rank(degrees: Mapping[str, float], config: Config) -> pd.DataFrame:
    return rank_prompts(config, PlaneEmbedder({config.object: 90.0, **degrees}), _IMAGE_VECTOR, _given(*degrees))


def _keep_all() -> Config:
    return Config(object="transistor", outlier_rule="none")


def test_prompts_are_ranked_by_their_cosine() -> None:
    table = _rank({"far": 120.0, "near": 0.0, "middle": 60.0}, _keep_all())

    assert list(table["prompt"]) == ["a transistor with near", "a transistor with middle", "a transistor with far"]
    assert list(table["rank"]) == [1, 2, 3]
    assert list(table["cosine"]) == pytest.approx([1.0, 0.5, -0.5], abs=1e-6)
    assert list(table["l2"]) == pytest.approx([0.0, 1.0, math.sqrt(3)], abs=1e-6)


def test_l2_and_cosine_of_unit_vectors_say_the_same() -> None:
    table = _rank({str(angle): float(angle) for angle in range(5, 180, 7)}, _keep_all())

    np.testing.assert_allclose(table["l2"], np.sqrt(2 - 2 * table["cosine"]), atol=1e-6)


def test_table_has_the_columns_of_the_artifact() -> None:
    table = _rank({"lead": 10.0}, _keep_all())

    distances = ["l2", "cosine", "text_cosine"]
    assert list(table.columns) == ["prompt", "word", "relation", "synset", "gloss", *distances, "kept", "rank"]


def test_prompts_have_their_cosine_to_the_word_too() -> None:
    table = _rank({"near": 0.0, "middle": 60.0, "far": 120.0}, _keep_all())

    assert list(table["text_cosine"]) == pytest.approx([0.0, math.sqrt(0.75), math.sqrt(0.75)], abs=1e-6)


def test_the_default_rule_never_changes_the_best_prompt() -> None:
    angles = {str(angle): float(angle) for angle in np.random.default_rng(0).permutation(180)[:40]}
    rules = [Config(object="nut", outlier_rule="quantile", outlier_quantile=share) for share in (0.01, 0.5, 0.9)]

    best = {_rank(angles, config)["prompt"].iloc[0] for config in (*rules, Config(object="nut", outlier_rule="none"))}

    assert len(best) == 1


def test_template_is_filled_in() -> None:
    config = Config(object="nut", outlier_rule="none", templates=("photograph of {word} on a {object} thread",))

    (prompt,) = rank_prompts(config, PlaneEmbedder({"thread": 0.0, "nut": 0.0}), _IMAGE_VECTOR, _given("rust"))[
        "prompt"
    ]

    assert prompt == "photograph of rust on a nut thread"


def test_reference_prompts_have_their_distances() -> None:
    degrees = {"near": 0.0, "far": 120.0, "nut": 60.0}
    table = _rank({"near": 0.0, "far": 120.0}, Config(object="nut", outlier_rule="none"))

    found = reference_table(table, "nut", PlaneEmbedder(degrees), _IMAGE_VECTOR)

    assert list(found["kind"]) == ["best", "worst", "word", "naive"]
    assert list(found["prompt"]) == ["a nut with near", "a nut with far", "nut", "a photo of a nut"]
    assert list(found["cosine"]) == pytest.approx([1.0, -0.5, 0.5, 0.5], abs=1e-6)
    assert list(found["text_cosine"]) == pytest.approx([0.5, 0.5, 1.0, 1.0], abs=1e-6)


def test_every_word_is_put_into_each_template() -> None:
    templates = ("a {object} with {word}", "{object} beside {word}")
    config = Config(object="nut", outlier_rule="none", templates=templates)

    table = _rank({"rust": 40.0, "oil": 10.0}, config)

    assert list(table["prompt"]) == ["a nut with oil", "nut beside oil", "a nut with rust", "nut beside rust"]
    assert list(table["word"]) == ["oil", "oil", "rust", "rust"]
    assert list(table["rank"]) == [1, 2, 3, 4]


def test_dropped_prompts_follow_the_kept_ones() -> None:
    config = Config(object="transistor", outlier_rule="paper", outlier_distance=0.5)

    table = _rank({"same": 0.0, "near": 60.0, "far": 120.0}, config)

    assert list(table["word"]) == ["near", "far", "same"]
    assert list(table["kept"]) == [True, True, False]
    assert list(table["rank"]) == [1, 2, 3]


def test_equal_cosines_are_ranked_by_the_text() -> None:
    assert list(_rank({"b": 30.0, "a": 30.0, "c": 30.0}, _keep_all())["word"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (Config(object="nut", outlier_rule="paper", outlier_distance=0.5), [False, False, True, True, True]),
        (Config(object="nut", outlier_rule="paper", outlier_distance=1.3), [False, False, False, False, True]),
        (Config(object="nut", outlier_rule="quantile", outlier_quantile=0.5), [True, True, True, False, False]),
        (Config(object="nut", outlier_rule="quantile", outlier_quantile=0.75), [True, True, True, True, False]),
        (Config(object="nut", outlier_rule="quantile", outlier_quantile=1.0), [True] * 5),
        (Config(object="nut", outlier_rule="none"), [True] * 5),
    ],
)
def test_outlier_rules(config: Config, kept: list[bool]) -> None:
    assert list(kept_by_rule(pd.Series([0.1, 0.5, 0.8, 1.2, 1.4]), config)) == kept


def test_rule_that_drops_every_candidate_is_named() -> None:
    config = Config(object="nut", outlier_rule="paper", outlier_distance=2.0)

    with pytest.raises(InputError, match=r"prompts\.outlier_rule: 'paper' dropped all 2 candidates"):
        _rank({"near": 10.0, "far": 120.0}, config)


def test_image_vector_is_the_unit_vector_of_the_mean() -> None:
    images = torch.stack([torch.full((3, 8, 8), angle) for angle in (0.0, 90.0)])

    vector = mean_image_vector(PlaneEmbedder({}), torch.split(images, 1))

    torch.testing.assert_close(vector, torch.tensor([math.sqrt(0.5), math.sqrt(0.5)]))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image set with a photograph of a cup as its shot and noise as its test image."""
    path = tmp_path_factory.mktemp("prompts") / "reference"
    with new_image_set(path) as (writer, _):
        writer.add(data.coffee()[50:370, 120:440], id="cup", source="train/good/000.png")
        writer.add(noise(0), id="bad", split="test", label="bad", defect="bent", source="test/bent/000.png")
    return path


@pytest.fixture
def loaded_conse(conse: ConseEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedder that is loaded already, in place of loading it once more."""
    monkeypatch.setattr(generate, "load_embedder", lambda name, embedder_weights: conse)


def test_prompts_of_a_photograph(tmp_path: Path, reference: Path, conse: ConseEmbedder) -> None:
    summary = generate_prompts(reference, tmp_path / "prompts", Config(object="cup"))

    table, senses = read_table(tmp_path / "prompts" / PROMPTS), read_table(tmp_path / "prompts" / SENSES)
    assert sorted(path.name for path in (tmp_path / "prompts").iterdir()) == [PROMPTS, REFERENCE_PROMPTS, SENSES]
    assert senses["cosine"].is_monotonic_decreasing
    assert sorted(senses["synset"]) == sorted(sense.name() for sense in noun_senses("cup"))
    kept = table[table["kept"]]
    assert kept["cosine"].is_monotonic_decreasing
    assert table["prompt"].str.startswith("a cup with ").all()
    assert summary["best_prompt"] == table["prompt"][0]
    assert summary["worst_cosine"] == table["cosine"].min()
    assert (summary["candidates"], summary["removed"]) == (len(table), len(table) - len(kept))
    assert (summary["embedder"], summary["embedder_digest"]) == (conse.name, conse.digest)
    assert summary["wordnet"] == "3.0"
    references = read_table(tmp_path / "prompts" / REFERENCE_PROMPTS).set_index("kind")
    assert dict(references["prompt"]) == {kind: prompt_text(tmp_path / "prompts", kind, "cup") for kind in PROMPT_KINDS}
    assert references["prompt"]["naive"] == "a photo of a cup"
    assert references["cosine"]["best"] == pytest.approx(summary["best_cosine"], abs=1e-5)
    assert references["cosine"]["worst"] == pytest.approx(summary["worst_cosine"], abs=1e-5)


@pytest.mark.usefixtures("loaded_conse")
def test_given_words_are_used_instead_of_wordnet(tmp_path: Path, reference: Path) -> None:
    words = ("coffee", "a spark plug", "an excavator")

    summary = generate_prompts(
        reference, tmp_path / "prompts", Config(object="qwyzzt", words=words, outlier_rule="none")
    )

    table = read_table(tmp_path / "prompts" / PROMPTS)
    assert sorted(table["word"]) == sorted(words)
    assert set(table["relation"]) == {"given"}
    assert table["word"][0] == "coffee"
    assert summary["wordnet"] == "not used"
    assert read_table(tmp_path / "prompts" / SENSES).empty


@pytest.mark.usefixtures("loaded_conse")
def test_failure_writes_no_prompts(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(InputError, match="object: got 'qwyzzt'"):
        generate_prompts(reference, tmp_path / "prompts", Config(object="qwyzzt"))

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("object", " ", "object: got ' '"),
        ("embedder", "clip", "embedder: got 'clip'"),
        ("embedder_weights", "somewhere", "embedder_weights: got 'somewhere', expected none"),
        ("templates", (), "prompts.templates: got (), expected one text or more with {object} and {word} only"),
        ("templates", ("a {object} with {word}", "a {object}"), "prompts.templates: got ('a {object} with {word}', 'a"),
        ("templates", ("a {word",), "prompts.templates: got ('a {word',)"),
        ("wordnet", "2.1", "prompts.wordnet: got '2.1', expected one of 3.0, 3.1"),
        ("words", ("lead", ""), "prompts.words"),
        ("depth", 0, "prompts.depth: got 0, expected 1 to 5"),
        ("outlier_rule", "median", "prompts.outlier_rule: got 'median'"),
        ("outlier_quantile", 0.0, "prompts.outlier_quantile: got 0.0"),
        ("outlier_distance", 2.5, "prompts.outlier_distance: got 2.5"),
    ],
)
def test_config_names_the_field_that_is_out_of_range(field: str, value: object, message: str) -> None:
    fields: dict[str, object] = {"object": "nut", field: value}

    with pytest.raises(InputError) as caught:
        Config(**fields)  # type: ignore[arg-type]

    assert message in str(caught.value)
