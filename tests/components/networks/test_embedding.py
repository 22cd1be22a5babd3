"""Embedders give unit vectors of one space, the same ones every time, and never stand in for one another."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from torch import Tensor

from components.artifacts import file_sha256, to_tensor
from components.errors import InputError
from components.networks.embedding import (
    ConseEmbedder,
    DifferentiableEmbedder,
    Embedder,
    OpenClipEmbedder,
    load_embedder,
    prepared_batches,
)
from tests.components.trees import noise

_SMALL_CLIP = "ViT-S-32-alt"
_OTHER_CLIP = "ViT-S-16-alt"
_TEXTS = ["a transistor with a bent lead", "a cat", " ".join(["word"] * 200)]


@pytest.fixture(scope="module")
def clip() -> Any:
    """CLIP of open_clip's smallest architecture, with random weights."""
    torch.manual_seed(0)
    return open_clip.create_model(_SMALL_CLIP, pretrained=None).eval()


@pytest.fixture(scope="module")
def clip_reference(clip: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reference to that model's weights in a file."""
    path = tmp_path_factory.mktemp("weights") / "clip.safetensors"
    save_file({key: value.contiguous() for key, value in clip.state_dict().items()}, path)
    return f"{path}#sha256={file_sha256(path)}"


@pytest.fixture(scope="module")
def clip_embedder(clip_reference: str) -> DifferentiableEmbedder:
    """Embedder of that model, loaded from the file."""
    return load_embedder(f"open_clip:{_SMALL_CLIP}", clip_reference)


def test_openai_archive_is_known_by_its_content_and_gets_its_activation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(_SMALL_CLIP, pretrained=None, force_quick_gelu=True).eval()
    sizes = {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77), "vocab_size": torch.tensor(9)}
    path = tmp_path / "any-name.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()} | sizes, path)

    embedder = load_embedder(f"open_clip:{_SMALL_CLIP}", f"{path}#sha256={file_sha256(path)}")

    with torch.inference_mode():
        expected = model.encode_text(open_clip.get_tokenizer(_SMALL_CLIP)(["a nut"]), normalize=True)
    torch.testing.assert_close(embedder.embed_texts(["a nut"]), expected, atol=1e-5, rtol=0)


def _norms(vectors: Tensor) -> Tensor:
    norms: Tensor = vectors.norm(dim=1)
    return norms


def test_conse_gives_unit_vectors(conse: ConseEmbedder) -> None:
    images, texts = conse.embed_images(to_tensor([noise(0), noise(1)])), conse.embed_texts(_TEXTS)

    assert images.shape == (2, 384)
    assert texts.shape == (3, 384)
    torch.testing.assert_close(_norms(images), torch.ones(2))
    torch.testing.assert_close(_norms(texts), torch.ones(3))


def test_conse_repeats_itself(conse: ConseEmbedder) -> None:
    images = to_tensor([noise(0)])

    assert torch.equal(conse.embed_images(images), conse.embed_images(images))
    assert torch.equal(conse.embed_texts(_TEXTS), conse.embed_texts(_TEXTS))


def test_conse_vector_does_not_depend_on_its_neighbours(conse: ConseEmbedder) -> None:
    images, texts = to_tensor([noise(seed) for seed in range(3)]), ["a cat", "a much longer text about a cat", "nut"]

    alone = torch.cat([conse.embed_images(image[None]) for image in images])
    torch.testing.assert_close(conse.embed_images(images), alone, atol=1e-5, rtol=0)
    alone = torch.cat([conse.embed_texts([text]) for text in texts])
    torch.testing.assert_close(conse.embed_texts(texts), alone, atol=1e-5, rtol=0)


def assert_follows_gradients(embedder: DifferentiableEmbedder, text: str) -> None:
    """The same vectors as without gradients, and a step along them that brings an image nearer to a text."""
    images = to_tensor([noise(seed) for seed in range(2)]).requires_grad_()
    target = embedder.embed_texts([text])[0]
    vectors = embedder.image_vectors(images)
    torch.testing.assert_close(vectors.detach().cpu(), embedder.embed_images(images.detach()))
    cosine = (vectors.cpu() @ target.clone()).mean()
    cosine.backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    step = 0.1 * images.grad / images.grad.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    nearer = embedder.embed_images((images + step).detach().clamp(0, 1)) @ target
    assert float(nearer.mean()) > float(cosine.detach()) + 0.001


def test_conse_lets_gradients_pass_to_the_images(conse: ConseEmbedder) -> None:
    assert_follows_gradients(conse, "a cat")


def test_open_clip_lets_gradients_pass_to_the_images(clip_embedder: DifferentiableEmbedder) -> None:
    assert_follows_gradients(clip_embedder, "a cat")


@pytest.mark.parametrize(
    ("photograph", "near", "far"),
    [("chelsea", "a cat", "a truck"), ("coffee", "a cup of coffee", "a transistor")],
)
def test_conse_knows_what_a_photograph_shows(conse: ConseEmbedder, photograph: str, near: str, far: str) -> None:
    image = conse.embed_images(to_tensor([getattr(data, photograph)()]))

    cosines = image @ conse.embed_texts([near, far]).T

    assert float(cosines[0, 0]) > float(cosines[0, 1]) + 0.2


def test_conse_digest_is_that_of_its_parts(conse: ConseEmbedder) -> None:
    assert conse.digest == "d4d22ef16ff0c34c20b001e0bca5526cc9b53b6f126dbe6172830d848c9eff65"


def test_open_clip_gives_the_vectors_of_open_clip(clip: Any, clip_embedder: Embedder) -> None:
    images = to_tensor([noise(seed, 224, 224) for seed in range(3)])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (clip.visual.image_mean, clip.visual.image_std))

    with torch.inference_mode():
        expected_images = clip.encode_image((images - mean) / std, normalize=True)
        expected_texts = clip.encode_text(open_clip.get_tokenizer(_SMALL_CLIP)(_TEXTS), normalize=True)

    torch.testing.assert_close(clip_embedder.embed_images(images), expected_images, atol=1e-5, rtol=0)
    torch.testing.assert_close(clip_embedder.embed_texts(_TEXTS), expected_texts, atol=1e-5, rtol=0)
    torch.testing.assert_close(_norms(expected_images), torch.ones(3))


def test_open_clip_takes_images_of_any_size(clip_embedder: Embedder) -> None:
    vectors = clip_embedder.embed_images(to_tensor([noise(0, 100, 60)]))

    assert vectors.shape[0] == 1
    torch.testing.assert_close(_norms(vectors), torch.ones(1))


def test_open_clip_names_its_architecture_and_file(clip_embedder: Embedder, clip_reference: str) -> None:
    assert clip_embedder.name == f"CLIP {_SMALL_CLIP} ({clip_reference.partition('#')[0]})"
    assert len(clip_embedder.digest) == 64


def test_weights_of_another_architecture_are_refused_by_tensor(clip_reference: str) -> None:
    with pytest.raises(InputError, match=r"tensor 'visual\.[\w.]+' has shape \[.*\], expected \[.*\]"):
        OpenClipEmbedder(_OTHER_CLIP, clip_reference)


def test_unknown_architecture_is_refused(clip_reference: str) -> None:
    with pytest.raises(InputError, match="embedder: got 'open_clip:ViT-Q-7', expected an architecture"):
        load_embedder("open_clip:ViT-Q-7", clip_reference)


@pytest.mark.parametrize(
    ("name", "embedder_weights", "message"),
    [
        ("clip", "", "embedder: got 'clip', expected 'conse' or 'open_clip:ARCHITECTURE'"),
        ("", "", "embedder: got ''"),
        ("conse", "somewhere", "embedder_weights: got 'somewhere', expected none"),
        ("open_clip:ViT-B-32", "", "embedder_weights: got '', expected the weights of open_clip:ViT-B-32"),
    ],
)
def test_name_and_weights_must_fit(name: str, embedder_weights: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_embedder(name, embedder_weights)

    assert message in str(caught.value)


def test_missing_clip_weights_do_not_fall_back_to_conse(tmp_path: Path) -> None:
    reference = f"{tmp_path / 'absent.safetensors'}#sha256={'0' * 64}"

    with pytest.raises(InputError, match=r"no file at .*absent.safetensors"):
        load_embedder(f"open_clip:{_SMALL_CLIP}", reference)


def test_prepared_batches_are_normalised_and_of_one_size() -> None:
    images = torch.full((40, 3, 10, 20), 0.75)

    batches = prepared_batches(images, (8, 8), (0.5, 0.5, 0.5), (0.5, 0.25, 1.0))

    assert [tuple(batch.shape) for batch in batches] == [(32, 3, 8, 8), (8, 3, 8, 8)]
    torch.testing.assert_close(batches[0].cpu()[0, :, 0, 0], torch.tensor([0.5, 1.0, 0.25]))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"images: got shape \[.*\], expected \[n, 3, height, width\]"):
        prepared_batches(torch.zeros(shape), (8, 8), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
