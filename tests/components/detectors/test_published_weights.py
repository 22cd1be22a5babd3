"""DINOv2's weights out of an ONNX file, on a small transformer that transformers and PyTorch's exporter made."""

import onnx
import pytest
import timm
import torch
from onnx import ModelProto
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from components.errors import InputError
from tests.benchmarks.published_weights import authors_tensors, named_tensors, runtime_tokens

SIDE, EXPORTED = 56, 28


class Saliency(nn.Module):
    """What is built on the transformer, and says nothing of its names."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = nn.Linear(32, 1)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.decoder(self.backbone(images).last_hidden_state)
        return scores


pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    """Exported at another side than the transformer's own; all tensors are different, as the exporter merges equals."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, attn_implementation="eager"
    )
    module = Saliency(Dinov2Model(config)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    path = tmp_path_factory.mktemp("onnx") / "saliency.onnx"
    example, sides = (torch.rand(1, 3, EXPORTED, EXPORTED),), {"images": {2: "height", 3: "width"}}
    torch.onnx.export(module, example, path, input_names=["images"], dynamic_axes=sides, dynamo=False)
    return onnx.load(path)


def test_tensors_give_the_tokens_of_the_file(model: ModelProto) -> None:
    network = timm.create_model(
        "vit_small_patch14_dinov2", embed_dim=32, depth=2, num_heads=2, img_size=SIDE, num_classes=0
    ).eval()
    network.load_state_dict(authors_tensors(named_tensors(model)))
    images = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(network.forward_features(images), runtime_tokens(model, images), atol=1e-4, rtol=0)


def test_names_of_older_exports_mean_the_same(model: ModelProto) -> None:
    tensors = named_tensors(model)
    older = {
        "q_proj": "attention.query",
        "k_proj": "attention.key",
        "v_proj": "attention.value",
        "o_proj": "output.dense",
    }
    renamed = dict(tensors)
    for name in tensors:
        part = name.split(".")[-2]
        if part in older:
            renamed[name.replace(part, older[part])] = renamed.pop(name)
    expected, found = authors_tensors(tensors), authors_tensors(renamed)
    assert len(renamed.keys() - tensors.keys()) == 16
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_file_without_a_transformer_is_refused() -> None:
    with pytest.raises(InputError, match=r"ONNX file: class tokens: got 0, expected one"):
        named_tensors(ModelProto())
