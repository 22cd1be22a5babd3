"""Checkpoints of taming-transformers give the same outputs after conversion, with every tensor accounted for.

The forward pass here is written from the architecture (Esser et al., 2021), on tensors under taming's own names.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

from components.artifacts import WEIGHTS, file_sha256
from components.errors import InputError
from components.generator.convert import convert
from components.generator.model import HEADER, build_generator, decode, encode, new_generator, quantise, vqmodel
from components.generator.taming import rename
from components.vqgan.config import Config
from pipelines.cli import app

MULTIPLIERS = (1, 1, 2, 2, 4)
BLOCKS = 2
TRAINING_ONLY = ("loss.discriminator.main.0.weight", "loss.perceptual_loss.lin0.model.1.weight")


class Shapes(dict[str, tuple[int, ...]]):
    """Every tensor of taming's f16 model by its own name, with its shape."""

    def __init__(self, codes: int, channels: int = 128, latent: int = 256) -> None:
        super().__init__()
        self.last = len(MULTIPLIERS) - 1
        self.widths = [channels * multiplier for multiplier in MULTIPLIERS]
        self.encoder(channels, latent)
        self.decoder(latent)
        self.convolution("quant_conv", latent, latent, 1)
        self.convolution("post_quant_conv", latent, latent, 1)
        self["quantize.embedding.weight"] = (codes, latent)

    def convolution(self, name: str, inputs: int, outputs: int, size: int = 3) -> None:
        self[f"{name}.weight"] = (outputs, inputs, size, size)
        self[f"{name}.bias"] = (outputs,)

    def norm(self, name: str, width: int) -> None:
        self[f"{name}.weight"] = self[f"{name}.bias"] = (width,)

    def block(self, name: str, inputs: int, outputs: int) -> None:
        self.norm(f"{name}.norm1", inputs)
        self.convolution(f"{name}.conv1", inputs, outputs)
        self.norm(f"{name}.norm2", outputs)
        self.convolution(f"{name}.conv2", outputs, outputs)
        if inputs != outputs:
            self.convolution(f"{name}.nin_shortcut", inputs, outputs, 1)

    def attention(self, name: str, width: int) -> None:
        self.norm(f"{name}.norm", width)
        for part in ("q", "k", "v", "proj_out"):
            self.convolution(f"{name}.{part}", width, width, 1)

    def level(self, name: str, level: int, inputs: int, blocks: int) -> None:
        width = self.widths[level]
        for index in range(blocks):
            self.block(f"{name}.{level}.block.{index}", inputs if index == 0 else width, width)
            if level == self.last:
                self.attention(f"{name}.{level}.attn.{index}", width)

    def ends(self, name: str, inputs: int, outputs: int) -> None:
        width = self.widths[-1]
        self.convolution(f"{name}.conv_in", 3 if name == "encoder" else inputs, inputs if name == "encoder" else width)
        self.block(f"{name}.mid.block_1", width, width)
        self.attention(f"{name}.mid.attn_1", width)
        self.block(f"{name}.mid.block_2", width, width)
        last = width if name == "encoder" else self.widths[0]
        self.norm(f"{name}.norm_out", last)
        self.convolution(f"{name}.conv_out", last, outputs)

    def encoder(self, channels: int, latent: int) -> None:
        self.ends("encoder", channels, latent)
        for level, inputs in enumerate([channels, *self.widths[:-1]]):
            self.level("encoder.down", level, inputs, BLOCKS)
            if level < self.last:
                self.convolution(f"encoder.down.{level}.downsample.conv", self.widths[level], self.widths[level])

    def decoder(self, latent: int) -> None:
        self.ends("decoder", latent, 3)
        for level, inputs in enumerate([*self.widths[1:], self.widths[-1]]):
            self.level("decoder.up", level, inputs, BLOCKS + 1)
            if level > 0:
                self.convolution(f"decoder.up.{level}.upsample.conv", self.widths[level], self.widths[level])


def random_checkpoint(codes: int) -> dict[str, Tensor]:
    """Random tensors whose outputs stay of the order of one, some of training only among them."""
    torch.manual_seed(0)
    tensors = {}
    for name, shape in Shapes(codes).items():
        scale = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.1
        offset = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        tensors[name] = offset + scale * torch.randn(shape)
    return tensors | {name: torch.ones(2) for name in TRAINING_ONLY}


class Taming:
    """Forward pass of the f16 model on named tensors."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def convolution(self, name: str, x: Tensor, stride: int = 1, padding: int | None = None) -> Tensor:
        weight = self.tensors[f"{name}.weight"]
        around = weight.shape[-1] // 2 if padding is None else padding
        return functional.conv2d(x, weight, self.tensors[f"{name}.bias"], stride, around)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return functional.group_norm(x, 32, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"], 1e-6)

    def block(self, name: str, x: Tensor) -> Tensor:
        hidden = self.convolution(f"{name}.conv1", functional.silu(self.norm(f"{name}.norm1", x)))
        hidden = self.convolution(f"{name}.conv2", functional.silu(self.norm(f"{name}.norm2", hidden)))
        shortcut = f"{name}.nin_shortcut"
        return hidden + (self.convolution(shortcut, x) if f"{shortcut}.weight" in self.tensors else x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        normed = self.norm(f"{name}.norm", x)
        query, key, value = (self.convolution(f"{name}.{part}", normed).reshape(n, c, h * w) for part in "qkv")
        weights = torch.softmax(query.transpose(1, 2) @ key / math.sqrt(c), dim=2)
        attended = (value @ weights.transpose(1, 2)).reshape(n, c, h, w)
        return x + self.convolution(f"{name}.proj_out", attended)

    def middle(self, name: str, x: Tensor) -> Tensor:
        x = self.attention(f"{name}.mid.attn_1", self.block(f"{name}.mid.block_1", x))
        return self.block(f"{name}.mid.block_2", x)

    def encode(self, x: Tensor) -> Tensor:
        x = self.convolution("encoder.conv_in", x)
        for level in range(len(MULTIPLIERS)):
            for index in range(BLOCKS):
                x = self.block(f"encoder.down.{level}.block.{index}", x)
                if level == len(MULTIPLIERS) - 1:
                    x = self.attention(f"encoder.down.{level}.attn.{index}", x)
            if level < len(MULTIPLIERS) - 1:
                padded = functional.pad(x, (0, 1, 0, 1))
                x = self.convolution(f"encoder.down.{level}.downsample.conv", padded, 2, 0)
        x = functional.silu(self.norm("encoder.norm_out", self.middle("encoder", x)))
        return self.convolution("quant_conv", self.convolution("encoder.conv_out", x))

    def quantise(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        codebook = self.tensors["quantize.embedding.weight"]
        flat = latents.permute(0, 2, 3, 1).reshape(-1, codebook.shape[1])
        codes = torch.cdist(flat, codebook).argmin(dim=1)
        n, _, h, w = latents.shape
        return codebook[codes].reshape(n, h, w, -1).permute(0, 3, 1, 2), codes

    def decode(self, latents: Tensor) -> Tensor:
        x = self.convolution("decoder.conv_in", self.convolution("post_quant_conv", latents))
        x = self.middle("decoder", x)
        for level in range(len(MULTIPLIERS) - 1, -1, -1):
            for index in range(BLOCKS + 1):
                x = self.block(f"decoder.up.{level}.block.{index}", x)
                if level == len(MULTIPLIERS) - 1:
                    x = self.attention(f"decoder.up.{level}.attn.{index}", x)
            if level > 0:
                upsampled = functional.interpolate(x, scale_factor=2.0, mode="nearest")
                x = self.convolution(f"decoder.up.{level}.upsample.conv", upsampled)
        return self.convolution("decoder.conv_out", functional.silu(self.norm("decoder.norm_out", x)))


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Tensor]:
    return random_checkpoint(1024)


def saved(tensors: dict[str, Tensor], path: Path, **extra: Any) -> Path:
    torch.save({"state_dict": tensors, "epoch": 3, "global_step": 7, **extra}, path)
    return path


def test_full_size_checkpoint_gives_equal_outputs(checkpoint: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(checkpoint, tmp_path / "last.ckpt")
    reference = f"{path}#sha256={file_sha256(path)}"
    model = build_generator(Config(architecture="f16", codebook_size=1024, weights=reference)).eval()
    taming = Taming(checkpoint)
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = taming.encode(images)
        latents = encode(model, images)
        torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)
        (expected_quantised, expected_codes), (quantised, _, codes) = (
            taming.quantise(expected),
            quantise(model, latents),
        )
        assert torch.equal(codes, expected_codes)
        torch.testing.assert_close(quantised, expected_quantised)
        torch.testing.assert_close(decode(model, quantised), taming.decode(quantised), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("codes", [1024, 16384])
def test_every_tensor_has_its_place(codes: int) -> None:
    tensors = {name: torch.empty(shape, device="meta") for name, shape in Shapes(codes).items()}
    renamed, dropped = rename(tensors | {name: torch.empty(1, device="meta") for name in TRAINING_ONLY})
    assert dropped == TRAINING_ONLY
    with torch.device("meta"):
        expected = new_generator("f16", codes, 0.25).state_dict()
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in expected.items()}


def test_converted_file_says_its_architecture_and_what_was_dropped(
    checkpoint: dict[str, Tensor], tmp_path: Path
) -> None:
    path = saved(checkpoint, tmp_path / "last.ckpt")
    done = CliRunner().invoke(app, ["weights", "convert", str(path), "--to", str(tmp_path / "converted")])
    assert done.exit_code == 0, done.output
    assert all(name in done.output for name in TRAINING_ONLY)
    written = load_file(tmp_path / "converted" / WEIGHTS)
    assert len(written) == 343
    assert sum(value.numel() for value in written.values()) == 72_141_699
    matched = re.search(r"weights: (\S+)\}", done.output)
    assert matched is not None
    stored = build_generator(Config(architecture="stored", codebook_size=1024, weights=matched[1])).state_dict()
    renamed, _ = rename(checkpoint)
    assert all(torch.equal(stored[key], value) for key, value in renamed.items())
    assert stored.keys() == renamed.keys()


def test_unknown_and_missing_tensors_are_named(checkpoint: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(checkpoint | {"encoder.extra.weight": torch.ones(1)}, tmp_path / "more.ckpt")
    with pytest.raises(InputError, match=r"tensor 'encoder\.extra\.weight' has no place in VQModel"):
        convert(path, tmp_path / "converted")
    less = {key: value for key, value in checkpoint.items() if key != "decoder.up.1.block.2.conv1.bias"}
    with pytest.raises(InputError, match=r"no tensor 'decoder\.up_blocks\.3\.resnets\.2\.conv1\.bias'"):
        convert(saved(less, tmp_path / "less.ckpt"), tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


class Callback:
    """Stands for what Lightning pickles beside the tensors."""


def test_pickled_objects_are_refused_with_a_way_out(tmp_path: Path) -> None:
    path = saved({"encoder.down.0.block.0.norm1.weight": torch.ones(1)}, tmp_path / "last.ckpt", callbacks=Callback())
    with pytest.raises(
        InputError, match=r"last\.ckpt: not a file of tensors only; .*\['state_dict'\], 'tensors\.pt'\)"
    ):
        convert(path, tmp_path / "converted")


def small_folder(folder: Path, **settings: Any) -> Path:
    """A folder as diffusers' `save_pretrained` writes it."""
    torch.manual_seed(0)
    base: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 16),
        "latent_channels": 4,
        "vq_embed_dim": 4,
        "norm_num_groups": 4,
        "num_vq_embeddings": 8,
        "mid_block_add_attention": False,
    }
    vqmodel({**base, **settings}).save_pretrained(folder)
    return folder


def test_any_folder_of_diffusers_is_converted_and_loaded(tmp_path: Path) -> None:
    from diffusers import VQModel

    folder = small_folder(tmp_path / "vq")
    facts = convert(folder, tmp_path / "converted")
    assert (facts["codebook_size"], facts["dropped"]) == (8, [])
    with safe_open(facts["path"], "pt") as file:
        assert json.loads(file.metadata()[HEADER])["block_out_channels"] == [8, 16]
    config = Config(architecture="stored", codebook_size=8, weights=f"{facts['path']}#sha256={facts['sha256']}")
    model, original = build_generator(config).eval(), VQModel.from_pretrained(folder).eval()
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images).sample, original(images).sample)
    assert (model.quantize.legacy, model.quantize.beta) == (False, 0.25)


def test_codebook_size_must_be_that_of_the_file(tmp_path: Path) -> None:
    facts = convert(small_folder(tmp_path / "vq"), tmp_path / "converted")
    reference = f"{facts['path']}#sha256={facts['sha256']}"
    with pytest.raises(InputError, match=r"vqgan\.codebook_size: got 512, expected 8, as in the weights"):
        build_generator(Config(architecture="stored", weights=reference))


def test_file_without_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(InputError, match="header: got None, expected the architecture; see vigil weights convert"):
        build_generator(Config(architecture="stored", weights=f"{path}#sha256={file_sha256(path)}"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"_class_name": "AutoencoderKL"}, "_class_name: got 'AutoencoderKL', expected 'VQModel'"),
        ({"norm_type": "spatial"}, "norm_type: got 'spatial'"),
        ({"act": "relu"}, "VQModel: .*act"),
        ({"latent_channels": 5}, "has shape"),
    ],
)
def test_folder_of_another_kind_is_refused(tmp_path: Path, spoil: dict[str, Any], message: str) -> None:
    folder = small_folder(tmp_path / "vq")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | spoil), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        convert(folder, tmp_path / "converted")


@pytest.mark.parametrize("content", [None, "text", "folder"])
def test_source_that_is_no_vqgan(tmp_path: Path, content: str | None) -> None:
    source = tmp_path / "source.safetensors"
    if content == "text":
        save_file({"a": torch.ones(1)}, source)
    if content == "folder":
        source.mkdir()
    with pytest.raises(InputError, match="source"):
        convert(source, tmp_path / "converted")
