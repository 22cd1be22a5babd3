"""Every form of image that a request may have, and what is refused."""

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components import decode
from components.artifacts import encode_png
from components.decode import decode_image
from components.errors import InputError
from components.preprocessing.transform import Preprocessing
from components.registry.requests import MAX_IMAGES, read_images
from tests.components.trees import noise, save

SIZE = 32
LARGE = noise(0, 48, 80)
PNG = encode_png(LARGE)


UNTOUCHED = Preprocessing.untouched(SIZE)


def objects(*items: Any) -> "np.ndarray[Any, np.dtype[np.object_]]":
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        array[index] = item
    return array


@pytest.mark.parametrize(
    "items",
    [
        LARGE[np.newaxis],
        LARGE[np.newaxis].astype(np.int64),
        np.array([LARGE.tolist()], dtype=object),
        objects(LARGE),
        objects(LARGE.tolist()),
        objects(PNG),
        objects(base64.b64encode(PNG).decode()),
    ],
    ids=["uint8", "int64", "nested", "array", "list", "bytes", "base64"],
)
def test_each_form_gives_the_image_that_ingestion_gives(tmp_path: Path, items: Any) -> None:
    expected, _ = decode_image(save(tmp_path / "image.png", LARGE), SIZE, "image")
    (image,) = read_images(items, UNTOUCHED)
    np.testing.assert_array_equal(image, expected)


def test_images_of_different_sizes_and_forms_share_a_request(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", noise(1, 40, 50))
    images = read_images(objects(LARGE, path, PNG, noise(2, SIZE, SIZE)), UNTOUCHED)
    assert [image.shape for image in images] == [(SIZE, SIZE, 3)] * 4
    np.testing.assert_array_equal(images[3], noise(2, SIZE, SIZE))


def test_text_is_never_a_path(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", LARGE)
    with pytest.raises(InputError, match=r"image 0: not base64"):
        read_images(objects(str(path)), UNTOUCHED)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (np.array("one", dtype=object), r"images: got one str, expected a list of images"),
        (objects(), rf"images: got 0, expected 1 to {MAX_IMAGES} in a request"),
        (objects(*[PNG] * (MAX_IMAGES + 1)), rf"images: got {MAX_IMAGES + 1}, expected 1 to {MAX_IMAGES}"),
        (objects(PNG, "&&&&"), r"image 1: not base64"),
        (objects(base64.b64encode(b"just some text").decode()), r"image 0: not an image, expected PNG, JPEG"),
        (objects(b""), r"image 0: not an image"),
        (objects(PNG[:200]), r"image 0: damaged"),
        (objects(Path("absent.png")), r"image 0: no file at absent.png"),
        (LARGE, r"image 0: got shape \[80, 3\], expected \[height, width, 3\]"),
        (LARGE[np.newaxis, ..., :1], r"image 0: got shape \[48, 80, 1\]"),
        (np.zeros((1, 0, 4, 3), dtype=np.uint8), r"image 0: got shape \[0, 4, 3\]"),
        (LARGE[np.newaxis] / 255, r"image 0: got values of type float64, expected whole numbers from 0 to 255"),
        (LARGE[np.newaxis].astype(int) + 1, r"image 0: got values from 1 to 256, expected 0 to 255"),
        (objects([[1, 2], [3]]), r"image 0: rows of different lengths"),
        (objects(None), r"image 0: got shape \[\]"),
        (objects({"image": 1}), r"image 0: got shape \[\]"),
        (objects(7), r"image 0: got shape \[\]"),
    ],
)
def test_what_is_no_image_is_named_in_one_line(items: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_images(items, UNTOUCHED)
    assert "\n" not in str(caught.value)


def test_image_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MEGAPIXEL", 48 * 80 // 64 - 1)
    for items in (LARGE[np.newaxis], objects(PNG)):
        with pytest.raises(InputError, match=r"image 0: size is 80x48, expected at most 64 megapixels"):
            read_images(items, UNTOUCHED)


def test_arrays_and_files_of_more_bits_are_scaled_as_the_detectors_data_set() -> None:
    stored = np.random.default_rng(3).integers(0, 1024, (48, 80), dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG")
    preprocessing = replace(UNTOUCHED, bit_depth=10, crop="10,0,70,40")
    by_file, by_array = read_images(objects(file.getvalue(), np.stack([stored] * 3, axis=-1)), preprocessing)
    np.testing.assert_array_equal(by_file, by_array)
    cropped = (stored[:40, 10:70].astype(np.uint32) * 255 // 1023).astype(np.uint8)
    np.testing.assert_array_equal(by_file, UNTOUCHED.place(np.stack([cropped] * 3, axis=-1), "image"))


def test_small_values_of_any_type_are_those_of_eight_bits() -> None:
    (image,) = read_images(LARGE[np.newaxis].astype(np.uint16), UNTOUCHED)
    np.testing.assert_array_equal(image, read_images(LARGE[np.newaxis], UNTOUCHED)[0])


def test_other_proportions_are_refused_where_they_are_kept() -> None:
    preprocessing = replace(UNTOUCHED, content=(SIZE, SIZE // 2), keep_aspect=True)
    with pytest.raises(InputError, match=r"image 0: size is 80x48, expected the proportions of"):
        read_images(LARGE[np.newaxis], preprocessing)
