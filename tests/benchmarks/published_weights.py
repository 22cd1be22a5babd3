"""DINOv2's weights out of an ONNX file, for measuring: under the names of its authors, with equal outputs.

The file is a model that PyTorch exported with transformers' `Dinov2Model` in it, whatever is built on that. The tokens
of the detectors' transformer are compared with those that ONNX Runtime computes of the file, at several sides. What the
file's licence allows is for its user to find out. Run it from the project's folder, with a path and its digest as what
it prints last: `python -m tests.benchmarks.published_weights FILE.onnx WEIGHTS.safetensors --images FOLDER`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, numpy_helper
from safetensors.torch import save_file
from torch import Tensor

from components.artifacts import file_sha256, to_tensor
from components.decode import decode_image
from components.detectors.encoder import DinoEncoder
from components.errors import check

SIDES = (224, 252, 518)
"""Pixels at which outputs are compared; at the last, DINOv2's own, positions are not resampled."""
_CLASS_TOKEN = "embeddings.cls_token"
_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "encoder.layer.": "blocks.",
    "layernorm.": "norm.",
    ".layer_scale1.lambda1": ".ls1.gamma",
    ".layer_scale2.lambda1": ".ls2.gamma",
    ".attention.attention.query.": ".attention.q_proj.",
    ".attention.attention.key.": ".attention.k_proj.",
    ".attention.attention.value.": ".attention.v_proj.",
    ".attention.output.dense.": ".attention.o_proj.",
    ".attention.o_proj.": ".attn.proj.",
}
"""Parts of transformers' names, before and since version 5, and the authors' in their place, in turn."""


def named_tensors(model: ModelProto) -> dict[str, Tensor]:
    """Tensors of a file's transformer under transformers' names; `InputError` where it holds none.

    The exporter folds what it can: a linear layer's matrix has lost its name and is transposed, and takes the name of
    the bias that is added to its product; the positions of the class token and of the patches are two nameless tensors.
    """
    found = {
        tensor.name: torch.from_numpy(np.array(numpy_helper.to_array(tensor))) for tensor in model.graph.initializer
    }
    roots = [name.removesuffix(_CLASS_TOKEN) for name in found if name.endswith(_CLASS_TOKEN)]
    check(len(roots) == 1, "ONNX file: class tokens", len(roots), "one, that of a DINOv2 transformer")
    products = {node.output[0]: node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    for node in model.graph.node:
        biases = [name for name in node.input if name.endswith(".bias") and name in found]
        matrices = [products[name] for name in node.input if products.get(name) in found]
        if node.op_type == "Add" and biases and matrices:
            found[biases[0].removesuffix("bias") + "weight"] = found[matrices[0]].T.contiguous()
    own = {name.removeprefix(roots[0]): value for name, value in found.items() if name.startswith(roots[0])}
    if "embeddings.position_embeddings" not in own:
        width = own[_CLASS_TOKEN].shape[-1]
        nameless = [value for name, value in found.items() if "::" in name and value.ndim == 3]
        parts = sorted((value for value in nameless if value.shape[-1] == width), key=lambda value: value.shape[1])
        own["embeddings.position_embeddings"] = torch.cat(parts, dim=1)
    return own


def authors_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under transformers' names as DINOv2's authors have them: query, key and value in one matrix."""
    found = tensors
    for theirs, own in _NAMES.items():
        found = {name.replace(theirs, own): value for name, value in found.items()}
    for query in [name for name in found if ".attention.q_proj." in name]:
        parts = [found.pop(query.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        found[query.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
    return found


def runtime_tokens(model: ModelProto, images: Tensor) -> Tensor:
    """Normalised tokens [n, 1 + patches, width] of the last block by ONNX Runtime, of normalised images of any side."""
    import onnxruntime

    opened = ModelProto.FromString(model.SerializeToString())
    (last,) = (node for node in opened.graph.node if "layernorm.bias" in " ".join(node.input))
    opened.graph.output.append(onnx.helper.make_tensor_value_info(last.output[0], onnx.TensorProto.FLOAT, None))
    for position in (2, 3):
        opened.graph.input[0].type.tensor_type.shape.dim[position].dim_param = f"side{position}"
    session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    (tokens,) = session.run([last.output[0]], {opened.graph.input[0].name: images.numpy()})
    return torch.from_numpy(tokens)


def largest_difference(model: ModelProto, encoder: DinoEncoder, images: Tensor) -> tuple[float, float]:
    """Largest difference of a value of the tokens, and the largest value, of images [n, 3, side, side] in [0, 1]."""
    expected = runtime_tokens(model, (images - encoder.mean) / encoder.std)
    return float((encoder(images)[0] - expected).abs().max()), float(expected.abs().max())


def read(paths: Sequence[Path], side: int) -> Tensor:
    """Images [n, 3, side, side] in [0, 1], and one of noise."""
    images = [decode_image(path, side, f"image {path}")[0] for path in paths]
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return torch.cat([to_tensor(images), noise]) if images else noise


def main() -> None:
    """Write the weights, and print the differences and the reference that a line's `vit_weights` takes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--vit", default="dinov2-small")
    parser.add_argument("--images", type=Path, help="a folder of images to compare outputs on, beside noise")
    given = parser.parse_args()
    model = onnx.load(given.file)
    save_file(authors_tensors(named_tensors(model)), given.weights)
    reference = f"{given.weights.resolve()}#sha256={file_sha256(given.weights)}"
    paths = sorted(given.images.iterdir())[:4] if given.images else []
    for side in SIDES:
        encoder = DinoEncoder(given.vit, reference, side, (-1,), norm=True)
        difference, most = largest_difference(model, encoder, read(paths, side))
        print(f"{side} px: {difference:.1e} at most between tokens of up to {most:.1f}", flush=True)
    print(reference)


if __name__ == "__main__":
    main()
