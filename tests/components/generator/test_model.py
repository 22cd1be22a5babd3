from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from skimage.data import stereo_motorcycle

from components.artifacts import CONFIG, WEIGHTS, file_sha256, read_json
from components.errors import InputError
from components.generator import config as config_module
from components.generator.model import (
    build_generator,
    decode,
    encode,
    quantise,
    restart_codes,
    save_generator,
    to_image_range,
    to_model_range,
)
from components.networks.perceptual import psnr
from components.pretraining.crops import centre_crop
from components.vqgan.config import Config
from components.weights.fetch import fetch

SMALL = Config(weights="none", codebook_size=16)


def reference_to(path: Path) -> str:
    return f"{path}#sha256={file_sha256(path)}"


def test_saved_generator_is_loaded_with_equal_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_generator(SMALL).eval()
    save_generator(model, tmp_path, SMALL, 7)
    again = build_generator(Config(codebook_size=16, weights=reference_to(tmp_path / WEIGHTS))).eval()
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(again(images).sample, model(images).sample)
    assert read_json(tmp_path / CONFIG)["step"] == 7
    assert read_json(tmp_path / CONFIG)["parent_sha256"] is None


def test_small_architecture_reduces_eightfold() -> None:
    latents = build_generator(SMALL).encode(torch.rand(1, 3, 64, 64)).latents
    assert latents.shape == (1, 64, 8, 8)


def test_f16_architecture_has_the_tensors_of_the_imagenet_model() -> None:
    with torch.device("meta"):
        model = build_generator(Config(architecture="f16", weights="none", codebook_size=1024))
    assert len(model.state_dict()) == 343
    assert sum(parameter.numel() for parameter in model.parameters()) == 72_141_699


def test_weights_of_another_codebook_are_refused(tmp_path: Path) -> None:
    save_generator(build_generator(SMALL), tmp_path, SMALL, 0)
    config = Config(codebook_size=32, weights=reference_to(tmp_path / WEIGHTS))
    with pytest.raises(InputError, match=r"quantize\.embedding\.weight.*\[16, 64\], expected \[32, 64\]"):
        build_generator(config)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(InputError, match="VQModel"):
        build_generator(Config(weights=reference_to(path)))


def test_beta_weighs_the_commitment_term() -> None:
    light, heavy = (build_generator(SMALL, beta) for beta in (0.0, 1.0))
    latents = torch.rand(1, 64, 2, 2, requires_grad=True)
    light.quantize(latents)[1].backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() == 0
    heavy.quantize(latents)[1].backward()
    assert latents.grad.abs().sum() > 0


def test_only_unused_codes_move_to_latents() -> None:
    model = build_generator(SMALL)
    used = torch.zeros(16, dtype=torch.bool)
    used[:10] = True
    before = model.quantize.embedding.weight.detach().clone()
    latents = torch.full((1, 64, 4, 4), 9.0)
    assert restart_codes(model, latents, used) == 6
    torch.testing.assert_close(model.quantize.embedding.weight[:10], before[:10])
    assert (model.quantize.embedding.weight[10:] == 9).all()


def test_ranges_are_inverse() -> None:
    images = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(to_image_range(to_model_range(images)), images)
    assert to_model_range(torch.zeros(1)).item() == -1


@pytest.mark.parametrize("settings", [{"weights": "base"}, {}])
def test_base_that_does_not_ship_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"vqgan\.weights: got 'base', expected .*no base ships for f16"):
        Config(architecture="f16", **settings)  # type: ignore[arg-type]


def test_base_has_one_size_of_codebook() -> None:
    with pytest.raises(InputError, match=r"vqgan\.codebook_size: got 16, expected 512, .*weights: none takes any"):
        Config(codebook_size=16)


def test_shipped_base_is_light_and_reconstructs_a_photograph_that_it_was_not_trained_on() -> None:
    path = fetch(Config().reference)
    assert path.parent == Path(config_module.__file__).parent
    assert path.stat().st_size <= 10_000_000
    photograph = torch.from_numpy(stereo_motorcycle()[0]).permute(2, 0, 1)
    image = centre_crop(photograph, 128)[None]
    ratios = {}
    for start in ("base", "none"):
        model = build_generator(Config(weights=start)).eval()
        with torch.no_grad():
            decoded = decode(model, quantise(model, encode(model, image))[0])
        ratios[start] = float(psnr(to_image_range(decoded), to_image_range(image)))
    assert ratios["base"] > 16
    assert ratios["base"] > ratios["none"] + 5


def test_empty_weights_are_refused() -> None:
    with pytest.raises(InputError, match=r"vqgan\.weights: got '', expected base, none or a reference"):
        Config(weights="")


def test_weights_are_named_without_their_digest() -> None:
    config = Config(weights=f"/vqgan.safetensors#sha256={'0' * 64}")
    assert (config.origin, config.untrained, config.reference) == ("/vqgan.safetensors", False, config.weights)
    assert (Config(weights="none").origin, Config(weights="none").reference) == ("untrained", "")
