"""Checkpoints of taming-transformers (Esser et al., 2021) under the key names of diffusers' VQModel.

Both hold the same tensors: names differ, and the attention's 1x1 convolutions are linear layers in diffusers.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TRAINING_ONLY = "loss."
"""Prefix of taming's tensors that a generator does not need: LPIPS's network and the discriminator."""

_MARK = "encoder.down.0.block.0.norm1.weight"
_RULES = (
    (r"\.norm_out\.", ".conv_norm_out."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.(down|up)\.(\d+)\.block\.(\d+)\.", r".\1_blocks.\2.resnets.\3."),
    (r"\.(down|up)\.(\d+)\.attn\.(\d+)\.", r".\1_blocks.\2.attentions.\3."),
    (r"\.(down|up)\.(\d+)\.(downsample|upsample)\.", r".\1_blocks.\2.\3rs.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"(\.attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(\.attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
    (r"(\.attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
)
_UP = re.compile(r"\.up_blocks\.(\d+)\.")
_LINEAR = re.compile(r"\.attentions\.\d+\.to_(q|k|v|out\.0)\.weight$")


def is_taming(tensors: "Mapping[str, Tensor]") -> bool:
    """Whether tensors have the names of taming-transformers."""
    return _MARK in tensors


def rename(tensors: "Mapping[str, Tensor]") -> "tuple[dict[str, Tensor], tuple[str, ...]]":
    """Tensors of a taming checkpoint under diffusers' names, and the sorted names of those of training only.

    A name that no rule matches is kept, for the loader to refuse. Decoder blocks are counted from the other end:
    taming's `up.i` is `up_blocks.{n - 1 - i}` of n.
    """
    dropped = tuple(sorted(key for key in tensors if key.startswith(TRAINING_ONLY)))
    kept = {}
    for key in (key for key in tensors if key not in dropped):
        name = key
        for pattern, replacement in _RULES:
            name = re.sub(pattern, replacement, name)
        kept[name] = tensors[key]
    last = max((int(match[1]) for key in kept if (match := _UP.search(key))), default=0)
    renamed = {_UP.sub(lambda match: f".up_blocks.{last - int(match[1])}.", key): kept[key] for key in kept}
    return {key: value.flatten(1) if _LINEAR.search(key) else value for key, value in renamed.items()}, dropped
