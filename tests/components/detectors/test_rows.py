"""Every row of the detectors' table: finds an obvious defect, is loaded with equal scores, and repeats its digits."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from components.artifacts import CONFIG, ImageSet, file_sha256, read_json
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector, fit, predict
from components.detectors.table import DETECTORS
from components.errors import InputError
from components.networks.backbones import BACKBONES, RESNETS, VITS
from components.registration.config import Config as GateConfig
from components.registration.export import export_detector
from components.weights.fetch import packaged, resolve
from components.weights.manifest import WeightsEntry
from tests.components.image_sets import DEFECT, write_added, write_reference

STEPS: dict[str, dict[str, Any]] = {
    "patchcore": {},
    "padim": {},
    "cflow": {"cflow_steps": 20},
    "reverse_distillation": {"distillation_steps": 20},
    "efficientad": {"efficientad_steps": 20},
}
VIT_STEPS: dict[str, dict[str, Any]] = {
    "anomalydino": {"foreground_masks": True},
    "dinomaly": {"dinomaly_steps": 20},
    "subspacead": {},
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One given image, its copies, and a test split with four holes."""
    root = tmp_path_factory.mktemp("rows")
    write_reference(root / "reference", given=1)
    write_added(root / "augmented", 4, ["train-good-0"])
    return root


@pytest.fixture(scope="module")
def vit_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random tensors under the names and in the shapes of DINOv2's ViT-S/14."""
    torch.manual_seed(0)
    model = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0)
    path = tmp_path_factory.mktemp("vit") / "dinov2_vits14.safetensors"
    save_file({**model.state_dict(), "mask_token": torch.zeros(1, 384)}, path)
    return f"{path}#sha256={file_sha256(path)}"


def train(sets: Path, directory: Path, config: Config) -> Detector:
    train_detector(sets / "reference", sets / "augmented", sets / "augmented", directory, config)
    return Detector(directory)


def check_row(sets: Path, directory: Path, config: Config) -> None:
    """The defect scores highest, where it is; a detector trained again scores as the loaded one does, to the digit.

    In a batch of another size, libraries add in another order, which shows in the last digits.
    """
    detector = train(sets, directory, config)
    images = ImageSet(sets / "reference")
    good, bad = (images.tensor(images.ids("test", kind)) for kind in ("good", "bad"))
    scores, maps = detector.predict(bad)
    assert scores.min() > detector.predict(good)[0].max()
    assert maps.shape == (4, 64, 64)
    assert maps[:, DEFECT, DEFECT].mean() > maps.mean()
    again = fit(images.tensor(images.ids("train")), config)
    for received, expected in zip(predict(again, bad), (scores, maps), strict=True):
        assert torch.equal(received, expected)
    alone, alone_maps = predict(again, bad[:1])
    torch.testing.assert_close(alone, scores[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone_maps, maps[:1], rtol=1e-4, atol=1e-4)


def test_every_row_is_tested() -> None:
    assert set(DETECTORS) == set(STEPS) | set(VIT_STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_row_finds_the_defect_and_is_loaded_with_equal_scores(sets: Path, tmp_path: Path, name: str) -> None:
    check_row(sets, tmp_path / name, Config(detector=name, **STEPS[name]))


@pytest.mark.parametrize("name", ["padim", "cflow", "reverse_distillation", "efficientad"])
def test_training_repeats_its_digits_and_another_seed_gives_others(sets: Path, name: str) -> None:
    images = ImageSet(sets / "reference")
    given = images.tensor(images.ids("train"))
    steps: dict[str, Any] = dict.fromkeys(STEPS[name], 2)
    first, again, other = (fit(given, Config(detector=name, seed=seed, **steps)).state_dict() for seed in (0, 0, 1))
    assert first.keys() == again.keys() == other.keys()
    assert [key for key in first if not torch.equal(first[key], again[key])] == []
    assert [key for key in first if not torch.equal(first[key], other[key])] != []


COMMON = {"detector", "training_set", "rotation_step", "false_alarm_rate", "threshold_folds", "seed"}
READ: set[str] = set()


class RecordingConfig(Config):
    """Notes which fields are read."""

    def __getattribute__(self, name: str) -> Any:
        READ.add(name)
        return super().__getattribute__(name)


def fields_read(sets: Path, config: Config) -> set[str]:
    """Fields that training reads, without those of every detector."""
    images = ImageSet(sets / "reference")
    READ.clear()
    fit(images.tensor(images.ids("train")), config)
    return (READ & vars(Config()).keys()) - COMMON


@pytest.mark.parametrize("name", STEPS)
def test_row_reads_the_fields_that_it_names(sets: Path, name: str) -> None:
    steps: dict[str, Any] = dict.fromkeys(STEPS[name], 1)
    assert fields_read(sets, RecordingConfig(detector=name, **steps)) == set(DETECTORS[name].reads)


@pytest.mark.slow
@pytest.mark.parametrize("name", VIT_STEPS)
def test_row_on_a_transformer(sets: Path, tmp_path: Path, name: str, vit_weights: str) -> None:
    check_row(sets, tmp_path / name, Config(detector=name, vit_weights=vit_weights, **VIT_STEPS[name]))
    assert read_json(tmp_path / name / CONFIG)["backbone"]["name"] == "dinov2-small"
    steps: dict[str, Any] = {key: 1 if key.endswith("_steps") else value for key, value in VIT_STEPS[name].items()}
    config = RecordingConfig(detector=name, vit_weights=vit_weights, **steps)
    assert fields_read(sets, config) == set(DETECTORS[name].reads)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STEPS, *VIT_STEPS])
def test_row_is_exported_with_parity(sets: Path, tmp_path: Path, name: str, vit_weights: str) -> None:
    settings = {**STEPS, **VIT_STEPS}[name] | ({"vit_weights": vit_weights} if name in VIT_STEPS else {})
    train(sets, tmp_path / name, Config(detector=name, **settings))
    parity = export_detector(tmp_path / name, sets / "reference", GateConfig(export="onnx"))
    assert parity["parity.passed"] is True


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STEPS, *VIT_STEPS])
def test_loaded_detector_needs_no_weights_file(
    sets: Path, tmp_path: Path, name: str, vit_weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registered detector is served where the file that its line refers to is not."""
    settings = {**STEPS, **VIT_STEPS}[name] | ({"vit_weights": vit_weights} if name in VIT_STEPS else {})
    detector = train(sets, tmp_path / name, Config(detector=name, **settings))
    images = ImageSet(sets / "reference")
    expected = detector.predict(images.tensor(images.ids("test")))[0]

    def absent(reference: str) -> WeightsEntry:
        raise InputError(f"weights {reference}: not here")

    monkeypatch.setattr("components.weights.fetch.resolve", absent)
    torch.testing.assert_close(Detector(tmp_path / name).predict(images.tensor(images.ids("test")))[0], expected)


@pytest.mark.parametrize(
    ("settings", "network"),
    [
        ({"detector": "anomalydino"}, "dinov2-small"),
        ({"detector": "dinomaly", "vit": "dinov2-base-reg4"}, "dinov2-base-reg4"),
        ({"detector": "padim", "backbone": "resnet18"}, "resnet18"),
        ({"detector": "patchcore", "backbone": "wide-resnet50"}, "wide-resnet50"),
    ],
)
def test_network_without_a_reference_is_the_manifests(settings: dict[str, Any], network: str) -> None:
    assert DETECTORS[settings["detector"]].network(Config(**settings)) == (network, network)
    assert resolve(network).name == network


def test_manifest_has_every_network_of_the_detectors() -> None:
    assert {*BACKBONES, *RESNETS, *VITS} <= packaged().keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"backbone": "resnet50"},
            r"detection\.backbone: got 'resnet50', expected one of efficientnet-lite0, .*resnet18",
        ),
        ({"backbone_weights": "x"}, r"detection\.backbone_weights: got 'x', expected none: efficientnet-lite0 brings"),
        ({"vit": "dinov3"}, r"detection\.vit: got 'dinov3', expected one of dinov2-small"),
        ({"cflow_steps": 0}, r"detection\.cflow_steps: got 0, expected 1 to 100000"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**settings)


def test_variant_of_efficientad_names_its_substitutes(sets: Path, tmp_path: Path) -> None:
    config = Config(detector="efficientad", efficientad_steps=1)
    result = train_detector(sets / "reference", sets / "augmented", sets / "augmented", tmp_path / "detector", config)
    assert "distilled teacher: features of efficientnet-lite0" in result["substitutes"]
    stored = read_json(tmp_path / "detector" / CONFIG)["substitutes"]
    assert stored["ImageNet"] == "photographs of scikit-image"
    assert "substitutes" not in train_detector(
        sets / "reference", sets / "augmented", sets / "augmented", tmp_path / "padim", Config(detector="padim")
    )
