"""Joint image-text embedders: CLIP by open_clip, and ConSE as the embedded default."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from components.compute import device
from components.errors import InputError, check
from components.networks.backbones import IMAGE_MEAN, IMAGE_STD, load_classifier
from components.weights.fetch import fetch, load_into, load_tensors, resolve

if TYPE_CHECKING:
    from torch import Tensor

CONSE = "conse"
OPEN_CLIP_PREFIX = "open_clip:"
_CONSE_CLASSES = 10
_BATCH = 32
_SPECIAL_TOKENS = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "sep", "cls", "mask")}

CONSE_WEIGHTS = ("efficientnet-lite2", "minilm-l6-v2", "minilm-l6-v2-config", "minilm-l6-v2-tokenizer")
"""Names, in the weights manifest, of what ConSE loads."""


class Embedder(Protocol):
    """Maps images and texts to unit vectors of one space, compared by their cosine."""

    name: str
    """What embeds, for reports."""
    digest: str
    """Digest of everything that the vectors depend on."""

    def embed_images(self, images: "Tensor") -> "Tensor":
        """Unit vectors [n, dim] of images [n, 3, height, width] in [0, 1]."""

    def embed_texts(self, texts: Sequence[str]) -> "Tensor":
        """Unit vectors [len(texts), dim]."""


class DifferentiableEmbedder(Embedder, Protocol):
    """An embedder that images can be optimised by."""

    def image_vectors(self, images: "Tensor") -> "Tensor":
        """The vectors of `embed_images`, with gradients for the images, on the device."""


def check_embedder(name: str, embedder_weights: str) -> None:
    """Raise `InputError` unless the two fields name an embedder together."""
    known = name == CONSE or name.startswith(OPEN_CLIP_PREFIX)
    check(known, "embedder", name, f"{CONSE!r} or '{OPEN_CLIP_PREFIX}ARCHITECTURE'")
    if name == CONSE:
        check(not embedder_weights, "embedder_weights", embedder_weights, f"none: {CONSE} brings its own")
    else:
        check(bool(embedder_weights), "embedder_weights", embedder_weights, f"the weights of {name}")


def load_embedder(name: str, embedder_weights: str = "") -> DifferentiableEmbedder:
    """`conse`, or `open_clip:ARCHITECTURE` with a reference to CLIP weights; `InputError` in place of a fallback."""
    check_embedder(name, embedder_weights)
    if name == CONSE:
        return ConseEmbedder()
    return OpenClipEmbedder(name.removeprefix(OPEN_CLIP_PREFIX), embedder_weights)


class _BatchedEmbedder(DifferentiableEmbedder):
    """Embeds any number of images and texts without gradients, some texts at a time."""

    @abstractmethod
    def text_vectors(self, texts: list[str]) -> "Tensor":
        """Unit vectors [len(texts), dim] of a batch of texts, on the device."""

    def embed_images(self, images: "Tensor") -> "Tensor":
        import torch

        with torch.inference_mode():
            return self.image_vectors(images).cpu()

    def embed_texts(self, texts: Sequence[str]) -> "Tensor":
        import torch

        with torch.inference_mode():
            batches = (list(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH))
            return torch.cat([self.text_vectors(batch).float().cpu() for batch in batches])


class OpenClipEmbedder(_BatchedEmbedder):
    """CLIP (Radford et al., 2021) of any open_clip architecture."""

    def __init__(self, architecture: str, reference: str) -> None:
        """Load the weights; `InputError` where the architecture is unknown, or they do not fit."""
        import open_clip

        known = architecture in open_clip.list_models()
        check(known, "embedder", OPEN_CLIP_PREFIX + architecture, "an architecture of open_clip")
        tensors = load_tensors(fetch(reference))
        # Only OpenAI's archives hold these, and only OpenAI's models have its approximation of GELU.
        popped = [tensors.pop(key, None) for key in ("input_resolution", "context_length", "vocab_size")]
        openai = any(value is not None for value in popped)
        tensors.pop("attn_mask", None)  # the text tower's causal mask, in some checkpoints
        model = open_clip.create_model(architecture, pretrained=None, force_quick_gelu=openai)
        load_into(model, {key: value.float() for key, value in tensors.items()}, reference)
        self._model = model.to(device()).eval().requires_grad_(False)
        self._tokenize = open_clip.get_tokenizer(architecture)
        self._normalise = model.visual.image_mean, model.visual.image_std
        size = model.visual.image_size
        self._size = (size, size) if isinstance(size, int) else tuple(size)
        self.name = f"CLIP {architecture} ({reference.partition('#')[0]})"
        self.digest = _digest("open_clip", architecture, resolve(reference).sha256)

    def image_vectors(self, images: "Tensor") -> "Tensor":
        """The vectors of `embed_images`, with gradients for the images, on the device."""
        import torch

        batches = prepared_batches(images, self._size, *self._normalise)
        return torch.cat([self._model.encode_image(batch, normalize=True).float() for batch in batches])

    def text_vectors(self, texts: list[str]) -> "Tensor":
        """Unit vectors [len(texts), dim]; longer texts are cut at the architecture's context length."""
        vectors: Tensor = self._model.encode_text(self._tokenize(texts).to(device()), normalize=True)
        return vectors


class ConseEmbedder(_BatchedEmbedder):
    """ConSE (Norouzi et al., 2013): an image is the convex combination of its likely classes' names.

    EfficientNet-Lite2 gives the probabilities of ImageNet's classes, MiniLM the vectors of their names
    and of the texts. A real joint embedding without CLIP, and weak far from ImageNet's classes.
    """

    name = "ConSE (EfficientNet-Lite2, MiniLM-L6)"

    def __init__(self) -> None:
        """Load both models from their packages; `InputError` where one is not installed or has other weights."""
        import torch
        from timm.data import ImageNetInfo

        self._classifier = load_classifier("efficientnet-lite2").to(device())
        self._text_model, self._tokenizer = _load_minilm()
        self._classes = ImageNetInfo()
        self._class_vectors = torch.zeros(self._classes.num_classes(), self._text_model.config.hidden_size)
        self._embedded: set[int] = set()
        parts = [resolve(name).sha256 for name in ("efficientnet-lite2", "minilm-l6-v2")]
        self.digest = _digest("conse", str(_CONSE_CLASSES), *parts)

    def image_vectors(self, images: "Tensor") -> "Tensor":
        """The vectors [n, 384] of `embed_images`, with gradients for the images, on the device."""
        import torch
        from torch.nn import functional

        vectors = []
        for batch in prepared_batches(images, (260, 260), IMAGE_MEAN, IMAGE_STD):
            top, classes = self._classifier(batch).softmax(dim=1).topk(_CONSE_CLASSES, dim=1)
            names = self._name_vectors(classes)
            vectors.append(functional.normalize((top.unsqueeze(2) * names).sum(dim=1), dim=1))
        return torch.cat(vectors)

    def _name_vectors(self, classes: "Tensor") -> "Tensor":
        """Vectors [n, k, 384] of the names of classes [n, k].

        A line's images are of few of the 1000 classes, whose names take seconds together. A name is embedded when its
        class comes up first, and alone, so that its digits do not depend on the images before.
        """
        for index in set(classes.flatten().tolist()) - self._embedded:
            self._class_vectors[index] = self.embed_texts([self._classes.index_to_description(index)])[0]
            self._embedded.add(index)
        return self._class_vectors.to(classes.device)[classes]

    def text_vectors(self, texts: list[str]) -> "Tensor":
        """Unit vectors [len(texts), 384]: the mean of MiniLM's token vectors."""
        from torch.nn import functional

        tokens = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(device())
        hidden = self._text_model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(2).to(hidden.dtype)
        return functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1), dim=1)


def prepared_batches(
    images: "Tensor", size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> "list[Tensor]":
    """Resize images [n, 3, height, width] in [0, 1] to `size`, normalise them, and split them in batches."""
    import torch
    from torchvision.transforms.v2 import InterpolationMode, functional

    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"images: got shape {list(images.shape)}, expected [n, 3, height, width]")
    resized = functional.resize(images, list(size), InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    normalised = functional.normalize(resized, list(mean), list(std)).to(device())
    return list(torch.split(normalised, _BATCH))


def _load_minilm() -> tuple[Any, Any]:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    path, config, tokenizer_file = (fetch(name) for name in CONSE_WEIGHTS[1:])
    model = BertModel(BertConfig(**json.loads(config.read_text(encoding="utf-8"))), add_pooling_layer=False)
    tensors = load_tensors(path)
    own = {key: value for key, value in tensors.items() if not key.startswith(("pooler.", "embeddings.position_ids"))}
    load_into(model, own, "minilm-l6-v2")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_file), model_max_length=model.config.max_position_embeddings, **_SPECIAL_TOKENS
    )
    return model.to(device()).eval().requires_grad_(False), tokenizer


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
