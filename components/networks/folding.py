"""A frozen backbone that gives the same maps sooner."""

import copy
from itertools import pairwise

import torch
from timm.layers import BatchNormAct2d
from timm.models.efficientnet import EfficientNetFeatures
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(network: nn.Module) -> nn.Module:
    """A copy of timm's extractor of an EfficientNet or a residual network, in evaluation mode, with equal maps.

    Its convolutions do what the batch normalisation behind them did, so that a map is read and written once less, and
    compute in channels-last; maps differ by rounding. Blocks behind the last map that is asked for, which timm's
    EfficientNet computes, are left out. Tensors that do not change are shared.
    """
    faster = _twin(network).eval()
    if isinstance(faster, EfficientNetFeatures):
        faster.blocks = faster.blocks[: max(row["stage"] for row in faster.feature_info.get_dicts())]
    for module in list(faster.modules()):
        _fold(module)
    for module in faster.modules():
        if isinstance(module, nn.Conv2d):
            kernel = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(kernel, requires_grad=module.weight.requires_grad)
    return faster


def _twin(module: nn.Module) -> nn.Module:
    """A copy of a module and of those inside it, with the same tensors; a deep copy takes several times as long."""
    twin = copy.copy(module)
    twin._parameters, twin._buffers = dict(module._parameters), dict(module._buffers)
    twin._modules = {name: child and _twin(child) for name, child in module._modules.items()}
    return twin


def _fold(module: nn.Module) -> None:
    """Fold each batch normalisation of a module into the convolution that stands before it."""
    names = list(dict(module.named_children()))
    for name, following in pairwise(names):
        convolution, normalisation = getattr(module, name), getattr(module, following)
        if not isinstance(convolution, nn.Conv2d) or not isinstance(normalisation, nn.BatchNorm2d):
            continue
        setattr(module, name, fuse_conv_bn_eval(convolution, normalisation))
        activation = normalisation.act if isinstance(normalisation, BatchNormAct2d) else nn.Identity()
        setattr(module, following, activation)
