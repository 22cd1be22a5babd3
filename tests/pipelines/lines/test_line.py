"""Tests of a production line's YAML."""

import inspect
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import __version__
from components.augmentation.config import Config as AugmentationConfig
from components.dataset.config import ALL_SHOTS
from components.dataset.config import Config as IngestionConfig
from components.defect_synthesis.config import Config as DefectSynthesisConfig
from components.detectors.config import TRAINING_SETS
from components.detectors.config import Config as DetectionConfig
from components.errors import InputError
from components.evaluation.config import Config as EvaluationConfig
from components.prompts.config import Config as PromptsConfig
from components.registration.config import Config as RegistrationConfig
from components.selection.config import Config as SelectionConfig
from components.vqgan.config import Config as GeneratorConfig
from components.weights.manifest import WeightsEntry, add_entry
from pipelines.dags.training import training_parameters
from pipelines.lines.cluster import Cluster, Resources
from pipelines.lines.line import Line, Schedule, load_line, load_lines, parse_line

MINIMAL: Mapping[str, Any] = {"name": "bolts", "object": "bolt", "dataset": {"uri": "images"}}
WEIGHTS = f"weights.safetensors#sha256={'0' * 64}"


def write(folder: Path, content: object) -> Path:
    path = folder / "line.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def parse(folder: Path = Path("/lines"), /, **changes: object) -> Line:
    return parse_line({**MINIMAL, **changes}, folder)


def message(**changes: object) -> str:
    with pytest.raises(InputError) as caught:
        parse(**changes)
    return str(caught.value)


def load_message(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_line(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_minimal_line_has_every_default(tmp_path: Path) -> None:
    assert load_line(write(tmp_path, dict(MINIMAL))) == Line(
        name="bolts",
        object="bolt",
        profile="embedded",
        seed=0,
        embedder="conse",
        embedder_weights="",
        detectors=("patchcore",),
        training_sets=TRAINING_SETS,
        dataset=IngestionConfig(uri=str(tmp_path / "images")),
        prompts=PromptsConfig(object="bolt"),
        augmentation=AugmentationConfig(),
        vqgan=GeneratorConfig(),
        selection=SelectionConfig(object="bolt"),
        detection=DetectionConfig(),
        evaluation=EvaluationConfig(),
        registration=RegistrationConfig(),
    )


def test_whole_number_of_a_real_field_is_the_same_line() -> None:
    lines = [parse(vqgan={"vq_weight": weight}) for weight in (1, 1.0)]
    assert lines[0].arguments() == lines[1].arguments()
    assert '"vqgan_vq_weight": 1.0' in lines[0].arguments()["settings"]


def test_full_line_keeps_every_value(tmp_path: Path) -> None:
    content = """
name: line-7.transistor_A
object: transistor
dataset: {uri: s3://lines/transistor, layout: btad, shots: 4, image_size: 128, test_fraction: 0.5}
seed: 7
profile: standard
embedder: open_clip:RN50
embedder_weights: clip-vit-b-32-openai
prompts: {templates: ["{object}: {word}"], words: [crack, stain], depth: 3, outlier_rule: none}
augmentation: {policy: rotations, orientation_free: true, images: 4, strength: 2}
vqgan: {architecture: small, iterations: 2, restart_codes: false, temperature: 0.5}
detectors: [patchcore]
training_sets: [generated, none]
detection: {num_neighbors: 3, coreset_ratio: 0.5}
evaluation: {aupro_limit: 0.1}
registration: {metric: pixel_auroc, min_gain: 0.01}
schedule: {cron: "0 0 2 * * *"}
cluster: {task: {cpu: 2}, vqgan: {gpu: 1}}
"""
    assert load_line(write(tmp_path, content)) == Line(
        name="line-7.transistor_A",
        object="transistor",
        profile="standard",
        seed=7,
        embedder="open_clip:RN50",
        embedder_weights="clip-vit-b-32-openai",
        detectors=("patchcore",),
        training_sets=("generated", "none"),
        dataset=IngestionConfig(
            uri="s3://lines/transistor", layout="btad", shots=4, image_size=128, test_fraction=0.5, seed=7
        ),
        defect_synthesis=DefectSynthesisConfig(seed=7),
        prompts=PromptsConfig(
            object="transistor",
            embedder="open_clip:RN50",
            embedder_weights="clip-vit-b-32-openai",
            templates=("{object}: {word}",),
            words=("crack", "stain"),
            depth=3,
            outlier_rule="none",
        ),
        augmentation=AugmentationConfig(policy="rotations", orientation_free=True, images=4, strength=2, seed=7),
        vqgan=GeneratorConfig(
            embedder="open_clip:RN50",
            embedder_weights="clip-vit-b-32-openai",
            architecture="small",
            iterations=2,
            restart_codes=False,
            temperature=0.5,
            seed=7,
        ),
        selection=SelectionConfig(
            object="transistor", embedder="open_clip:RN50", embedder_weights="clip-vit-b-32-openai"
        ),
        detection=DetectionConfig(num_neighbors=3, coreset_ratio=0.5, seed=7),
        evaluation=EvaluationConfig(aupro_limit=0.1),
        registration=RegistrationConfig(metric="pixel_auroc", min_gain=0.01),
        schedule=Schedule(cron="0 0 2 * * *"),
        cluster=Cluster(task=Resources(cpu="2"), vqgan=Resources(gpu=1)),
    )


def test_all_shots() -> None:
    assert parse(dataset={"uri": "images", "shots": "all"}).dataset.shots == ALL_SHOTS


def test_relative_uri_starts_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines").mkdir()
    write(tmp_path / "lines", {**MINIMAL, "dataset": {"uri": "../images"}})
    monkeypatch.chdir(tmp_path)
    assert load_line(Path("lines/line.yaml")).dataset.uri == str(tmp_path / "images")


@pytest.mark.parametrize("uri", ["/data/bolts", "s3://lines/bolts/../x", "s3://lines"])
def test_absolute_and_s3_uris_are_kept(uri: str) -> None:
    assert parse(dataset={"uri": uri}).dataset.uri == uri


def test_integers_are_accepted_for_floats() -> None:
    assert parse(augmentation={"strength": 1}).augmentation.strength == 1


@pytest.mark.parametrize(
    ("changes", "key", "suggestion"),
    [
        ({"training_set": ["none"]}, "training_set", "training_sets"),
        ({"dataset": {"uri": "images", "image_sise": 64}}, "dataset.image_sise", "image_size"),
        ({"vqgan": {"iteration": 3}}, "vqgan.iteration", "iterations"),
        ({"schedule": {"crom": "* * * * * *"}}, "schedule.crom", "cron"),
    ],
)
def test_unknown_key_suggests_the_close_one(changes: dict[str, object], key: str, suggestion: str) -> None:
    text = message(**changes)
    assert text.startswith(f"{key}: unknown key")
    assert text.endswith(f"did you mean {suggestion}?")


@pytest.mark.parametrize(
    ("section", "wired"),
    [("vqgan", "seed"), ("detection", "detector"), ("detection", "training_set"), ("selection", "embedder")],
)
def test_values_of_the_whole_line_are_unknown_in_a_section(section: str, wired: str) -> None:
    assert message(**{section: {wired: "x"}}).startswith(f"{section}.{wired}: unknown key")


def test_unknown_key_without_a_close_one_lists_the_known() -> None:
    text = message(zzz=1)
    assert text.startswith("zzz: unknown key, expected one of name, object")
    assert "did you mean" not in text


@pytest.mark.parametrize(
    ("changes", "key", "received", "expected"),
    [
        ({"seed": "zero"}, "seed", "'zero' (str)", "int"),
        ({"seed": True}, "seed", "True (bool)", "int"),
        ({"seed": 1.0}, "seed", "1.0 (float)", "int"),
        ({"name": 5}, "name", "5 (int)", "str"),
        ({"object": ["bolt"]}, "object", "['bolt'] (list)", "str"),
        ({"detectors": "patchcore"}, "detectors", "'patchcore' (str)", "list"),
        ({"training_sets": {"none": 1}}, "training_sets", "{'none': 1} (dict)", "list"),
        ({"schedule": "0 0 2 * * *"}, "schedule", "'0 0 2 * * *' (str)", "keys such as cron, enabled, jitter"),
        ({"schedule": {"cron": 5}}, "schedule.cron", "5 (int)", "str"),
        ({"schedule": {"cron": "0 0 2 * * *", "enabled": "no"}}, "schedule.enabled", "'no' (str)", "bool"),
        ({"dataset": "images"}, "dataset", "'images' (str)", "keys such as uri, layout, shots"),
        ({"dataset": None}, "dataset", "None (NoneType)", "keys such as uri, layout, shots"),
        ({"dataset": {"uri": 3}}, "dataset.uri", "3 (int)", "str"),
        ({"dataset": {"uri": "x", "image_size": "64"}}, "dataset.image_size", "'64' (str)", "int"),
        ({"vqgan": None}, "vqgan", "None (NoneType)", "keys such as architecture, weights, codebook_size"),
        ({"vqgan": {"images": "4"}}, "vqgan.images", "'4' (str)", "int"),
        ({"vqgan": {"images": True}}, "vqgan.images", "True (bool)", "int"),
        ({"vqgan": {"restart_codes": 1}}, "vqgan.restart_codes", "1 (int)", "bool"),
        ({"vqgan": {"temperature": True}}, "vqgan.temperature", "True (bool)", "float"),
        ({"vqgan": {"temperature": "hot"}}, "vqgan.temperature", "'hot' (str)", "float"),
        ({"prompts": {"words": "crack"}}, "prompts.words", "'crack' (str)", "list"),
    ],
)
def test_wrong_type_names_key_value_and_type(
    changes: dict[str, object], key: str, received: str, expected: str
) -> None:
    assert message(**changes) == f"{key}: got {received}, expected {expected}"


@pytest.mark.parametrize(
    ("changes", "key", "received"),
    [
        ({"name": "two words"}, "name", "'two words'"),
        ({"name": ""}, "name", "''"),
        ({"name": "-x"}, "name", "'-x'"),
        ({"name": "a/b"}, "name", "'a/b'"),
        ({"name": "x" * 64}, "name", "'xxx"),
        ({"object": " "}, "object", "' '"),
        ({"seed": -1}, "seed", "-1"),
        ({"profile": "fast"}, "profile", "'fast'"),
        ({"embedder": "clip"}, "embedder", "'clip'"),
        ({"dataset": {"uri": "x", "layout": "visa"}}, "dataset.layout", "'visa'"),
        ({"dataset": {"uri": "x", "shots": 0}}, "dataset.shots", "0"),
        ({"dataset": {"uri": "x", "shots": -2}}, "dataset.shots", "-2"),
        ({"dataset": {"uri": "x", "shots": True}}, "dataset.shots", "True"),
        ({"dataset": {"uri": "x", "shots": 1.5}}, "dataset.shots", "1.5"),
        ({"dataset": {"uri": "x", "shots": "many"}}, "dataset.shots", "'many'"),
        ({"dataset": {"uri": "x", "image_size": 100}}, "dataset.image_size", "100"),
        ({"augmentation": {"policy": "blur"}}, "augmentation.policy", "'blur'"),
        ({"vqgan": {"learning_rate": float("nan")}}, "vqgan.learning_rate", "nan"),
        ({"prompts": {"words": [1]}}, "prompts.words", "1 (int)"),
        ({"augmentation": {"policy": "rotations"}}, "augmentation.policy", "'rotations'"),
        ({"prompts": {"templates": []}}, "prompts.templates", "()"),
        ({"registration": {"metric": "accuracy"}}, "registration.metric", "'accuracy'"),
        ({"registration": {"metric": "image_auroc_kind_mean"}}, "registration.metric", "'image_auroc_kind_mean'"),
        ({"evaluation": {"spro_limit": 0.05}}, "evaluation.spro_limit", "0.05"),
        ({"detection": {"threshold": "none"}}, "detection.threshold", "'none'"),
        ({"detectors": ["fastflow"]}, "detectors", "'fastflow'"),
        ({"detectors": []}, "detectors", "[]"),
        ({"detectors": ["patchcore", "patchcore"]}, "detectors", "['patchcore', 'patchcore']"),
        ({"detectors": [{"patchcore": 1}]}, "detectors", "{'patchcore': 1}"),
        ({"training_sets": ["all"]}, "training_sets", "'all'"),
        ({"training_sets": []}, "training_sets", "[]"),
        ({"training_sets": ["none", "none"]}, "training_sets", "['none', 'none']"),
        ({"schedule": {"cron": "0 2 * * *"}}, "schedule.cron", "'0 2 * * *'"),
        ({"schedule": {"cron": "0 0 25 * * *"}}, "schedule.cron", "'0 0 25 * * *'"),
    ],
)
def test_wrong_value_names_key_and_value(changes: dict[str, object], key: str, received: str) -> None:
    text = message(**changes)
    assert text.startswith(f"{key}: got {received}")
    assert ", expected " in text


def test_kinds_of_anomalies_are_measured_in_their_layout() -> None:
    line = parse(
        dataset={"uri": "x", "layout": "loco"},
        registration={"metric": "image_auroc_kind_mean"},
        evaluation={"spro_limit": 0.05},
    )
    assert (line.registration.metric, line.evaluation.spro_limit) == ("image_auroc_kind_mean", 0.05)


@pytest.mark.parametrize("missing", ["name", "object", "dataset"])
def test_missing_key_is_named(missing: str) -> None:
    content = {key: value for key, value in MINIMAL.items() if key != missing}
    with pytest.raises(InputError, match=f"^{missing}: got None, expected a value; the key is missing$"):
        parse_line(content, Path("/lines"))


def test_missing_uri_is_named() -> None:
    assert message(dataset={"shots": 1}) == "dataset.uri: got None, expected a value; the key is missing"


def test_standard_profile_needs_generator_weights() -> None:
    assert message(profile="standard").startswith("vqgan.weights: got 'none', expected ")
    line = parse(profile="standard", vqgan={"weights": WEIGHTS})
    assert line.embedder == "open_clip:ViT-B-32"
    assert line.embedder_weights == "clip-vit-b-32-openai"
    assert (line.vqgan.architecture, line.vqgan.weights) == ("f16", WEIGHTS)


def weights_of(line: Line) -> list[str]:
    return [reference for _, reference in line.named_weights()]


def test_detector_on_a_transformer_takes_the_manifests_weights_or_those_that_are_named() -> None:
    line = parse(detectors=["padim", "anomalydino"])
    assert weights_of(line)[-1] == "dinov2-small"
    line = parse(detectors=["padim", "anomalydino"], detection={"vit_weights": WEIGHTS})
    assert weights_of(line)[-1] == WEIGHTS
    assert "dinov2-small" not in weights_of(line)
    assert [trial["detector"] for trial in line.arguments()["trials"]][::4] == ["padim", "anomalydino"]


def test_weights_of_the_users_manifest_stand_by_address_and_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept result is found again by the file, not by a name that may get another file."""
    manifest = tmp_path / "weights.yaml"
    monkeypatch.setenv("VIGIL_WEIGHTS_MANIFEST", str(manifest))
    entry = WeightsEntry(name="ours", uri="s3://weights/ours", sha256="ab" * 32, licence="CC-BY-4.0")
    add_entry(str(manifest), entry)
    labels = {"cluster": {"labels": {"weights": "ours"}}}
    line = parse(vqgan={"weights": "ours"}, detection={"vit_weights": "ours"}, **labels)
    expected = f"s3://weights/ours#sha256={'ab' * 32}"
    assert line.arguments()["vqgan_weights"] == line.arguments()["detection_vit_weights"] == expected
    assert line.arguments()["vqgan_perceptual_backbone"] == "vgg16"
    assert line.cluster.labels == {"weights": "ours"}


def test_another_embedder_drops_the_weights_of_the_profile() -> None:
    line = parse(profile="standard", embedder="conse", vqgan={"architecture": "small"})
    assert (line.embedder, line.embedder_weights) == ("conse", "")
    assert line.vqgan.weights == "base"
    text = message(profile="standard", embedder="open_clip:RN50", vqgan={"architecture": "small"})
    assert text.startswith("embedder_weights: got ''")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "holds NoneType"),
        ("- name\n- object\n", "holds list"),
        ("bolts\n", "holds str"),
        ("name: [bolts\n", "not YAML"),
        ("name: bolts\n\tobject: bolt\n", "not YAML"),
        ("name: !!python/object/apply:os.getcwd []\n", "not YAML"),
        ("? [a, b]\n: 1\n", "not YAML"),
        ("1: 2\n", "1: unknown key"),
        ("name: two words\nobject: bolt\ndataset: {uri: x}\n", "name: got 'two words'"),
    ],
)
def test_file_that_is_no_line(tmp_path: Path, content: str, expected: str) -> None:
    assert expected in load_message(write(tmp_path, content))


def test_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    assert "not YAML" in load_message(path)


def test_missing_file(tmp_path: Path) -> None:
    assert "no file at" in load_message(tmp_path / "line.yaml")
    assert "no file at" in load_message(tmp_path)


def test_arguments_are_the_parameters_of_the_pipeline() -> None:
    arguments = parse(prompts={"words": ["crack"]}).arguments()
    assert set(arguments) == {parameter.name for parameter in training_parameters()}
    for parameter in training_parameters():
        if parameter.default is not inspect.Parameter.empty:
            assert type(arguments[parameter.name]) is type(parameter.default), parameter.name


def test_default_arguments_are_the_defaults_of_the_pipeline() -> None:
    arguments = parse().arguments()
    for parameter in training_parameters():
        if parameter.default is not inspect.Parameter.empty:
            assert arguments[parameter.name] == parameter.default, parameter.name


def test_trials_are_every_detector_on_every_training_set() -> None:
    assert parse(training_sets=["none", "generated"]).arguments()["trials"] == [
        {"detector": "patchcore", "training_set": "none"},
        {"detector": "patchcore", "training_set": "generated"},
    ]


def test_settings_hold_every_parameter_as_json() -> None:
    arguments = parse(prompts={"words": ["crack"]}).arguments()
    settings = json.loads(arguments["settings"])
    given = {name: value for name, value in arguments.items() if name not in ("settings", "trials")}
    assert settings == {**given, "profile": "embedded", "vigil_version": __version__}


def test_schedule() -> None:
    line = parse(schedule={"cron": " 0 0  2 * * * ", "enabled": False})
    assert (line.schedule.cron, line.schedule.enabled) == ("0 0 2 * * *", False)
    assert parse().schedule == Schedule(cron="", enabled=True)


def test_lines_of_a_folder_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for file, name in (("1.yaml", "nuts"), ("2.yml", "bolts"), ("notes.txt", "pins")):
        (tmp_path / file).write_text(yaml.safe_dump({**MINIMAL, "name": name}), encoding="utf-8")
    (tmp_path / "below.yaml").mkdir()
    assert [line.name for line in load_lines(tmp_path)] == ["bolts", "nuts"]


def test_every_error_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    content = {
        "name": "two words",
        "seeds": 1,
        "seed": -1,
        "dataset": {"shots": "many", "layot": "btad"},
        "prompts": 3,
        "vqgan": {"images": 0, "iteration": 2},
        "schedule": {"cron": "0 2 * * *"},
        "cluster": {"task": {"cpu": "two"}, "vqgan": {"gpu": -1}},
    }
    with pytest.raises(InputError) as caught:
        parse_line(content, Path("/lines"))
    keys = ["seeds", "dataset.layot", "vqgan.iteration", "dataset.shots", "name", "object", "seed", "dataset.uri"]
    keys += ["prompts", "vqgan.images", "schedule.cron", "cluster.task.cpu", "cluster.vqgan.gpu"]
    assert sorted(text.partition(": ")[0] for text in caught.value.args) == sorted(keys)
    text = load_message(write(tmp_path, content))
    assert all(error in text for error in caught.value.args)


def test_an_error_of_what_sections_share_is_named_once() -> None:
    assert message(seed=-1).count("seed: got -1") == 1
    assert message(embedder="clip").count("embedder: got 'clip'") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"generator": {"images": 3}}, {"vqgan": {"images": 3}}),
        ({"gate": {"metric": "aupro"}}, {"registration": {"metric": "aupro"}}),
        ({"cluster": {"generator": {"gpu": 1}}}, {"cluster": {"vqgan": {"gpu": 1}}}),
    ],
)
def test_section_under_its_former_name_is_read_with_a_warning(
    old: dict[str, Any], new: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse(**new) == parse(**old)
    (warning,) = caplog.messages
    assert next(iter(next(iter(new.values())) if "cluster" in new else new)) in warning


def test_section_under_both_its_names_is_refused() -> None:
    text = message(generator={"images": 3}, vqgan={"images": 4})
    assert text == "generator: got {'images': 3}, expected vqgan alone, the name of today"
    both = {"generator": {"gpu": 1}, "vqgan": {"gpu": 2}}
    assert message(cluster=both) == "cluster.generator: got {'gpu': 1}, expected cluster.vqgan alone, the name of today"


@pytest.mark.parametrize("section", ["schedule", "cluster", "vqgan"])
def test_keys_that_are_no_texts_are_unknown(section: str) -> None:
    assert message(**{section: {1: 2}}).startswith(f"{section}.1: unknown key")
