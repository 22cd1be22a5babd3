"""Images of any common kind become 8-bit RGB."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components import decode
from components.decode import decode_image
from components.errors import InputError
from tests.components.trees import SIDE, UInt8Image, noise, save


def _decoded(path: Path) -> UInt8Image:
    return decode_image(path, SIDE, f"image {path}")[0]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_pixels_of_an_image_in_the_right_size_are_kept(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"image.{suffix}", noise(0))

    image, size = decode_image(path, SIDE, "image")

    np.testing.assert_array_equal(image, noise(0))
    assert size == (SIDE, SIDE)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_are_read(tmp_path: Path, suffix: str) -> None:
    grey = np.full((SIDE, SIDE, 3), 120, dtype=np.uint8)

    image = _decoded(save(tmp_path / f"image.{suffix}", grey))

    assert np.abs(image.astype(int) - grey).max() <= 2


@pytest.mark.parametrize(("height", "width"), [(32, 48), (200, 100)])
def test_other_sizes_are_resized_and_reported(tmp_path: Path, height: int, width: int) -> None:
    image, size = decode_image(save(tmp_path / "image.png", noise(0, height, width)), SIDE, "image")

    assert image.shape == (SIDE, SIDE, 3)
    assert size == (width, height)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("stored", "expected"), [(65535, 255), (32768, 127), (257, 1), (256, 0), (0, 0)])
def test_sixteen_bit_grey_is_scaled_from_its_full_range(
    tmp_path: Path, suffix: str, stored: int, expected: int
) -> None:
    path = save(tmp_path / f"image.{suffix}", np.full((SIDE, SIDE), stored, dtype=np.uint16))

    assert np.unique(_decoded(path)).tolist() == [expected]


def test_big_endian_sixteen_bit_grey_is_read(tmp_path: Path) -> None:
    values = np.full((SIDE, SIDE), 65535, dtype=">u2")
    Image.frombytes("I;16B", (SIDE, SIDE), values.tobytes()).save(tmp_path / "image.tif")

    assert np.unique(_decoded(tmp_path / "image.tif")).tolist() == [255]


def test_grey_is_repeated_over_the_channels(tmp_path: Path) -> None:
    grey = noise(0)[..., 0]

    image = _decoded(save(tmp_path / "image.png", grey))

    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], grey)


def test_alpha_is_dropped_also_where_it_is_transparent(tmp_path: Path) -> None:
    alpha = np.zeros((SIDE, SIDE, 1), dtype=np.uint8)

    image = _decoded(save(tmp_path / "image.png", np.concatenate([noise(0), alpha], axis=2)))

    np.testing.assert_array_equal(image, noise(0))


def test_palette_is_expanded(tmp_path: Path) -> None:
    stored = Image.fromarray(np.eye(SIDE, dtype=np.uint8))
    stored.putpalette([10, 20, 30, 200, 100, 50])
    stored.save(tmp_path / "image.png")

    image = _decoded(tmp_path / "image.png")

    assert image[0, 0].tolist() == [200, 100, 50]
    assert image[0, 1].tolist() == [10, 20, 30]


def test_orientation_of_a_camera_is_applied(tmp_path: Path) -> None:
    stored = noise(0, height=SIDE, width=SIDE)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "image.png", exif=exif)

    np.testing.assert_array_equal(_decoded(tmp_path / "image.png"), np.rot90(stored, -1))


def test_reported_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(0, height=32, width=48)).save(tmp_path / "image.jpg", exif=exif)

    assert decode_image(tmp_path / "image.jpg", SIDE, "image")[1] == (32, 48)


def test_floating_point_image_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "image.tif", np.zeros((SIDE, SIDE), dtype=np.float32))

    with pytest.raises(InputError, match="floating-point values, expected 8 or 16 bits"):
        _decoded(path)


def test_image_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "image.png", noise(0))
    monkeypatch.setattr(decode, "MAX_PIXELS", SIDE * SIDE)
    _decoded(path)

    monkeypatch.setattr(decode, "MAX_PIXELS", SIDE * SIDE - 1)
    with pytest.raises(InputError, match=r"image .*image.png: size is 64x64, expected at most 4095 pixels"):
        _decoded(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_truncated_image_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = save(tmp_path / f"image.{suffix}", noise(0))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(InputError, match=rf"image .*image.{suffix}: (damaged|not an image)"):
        _decoded(path)


def test_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_text("a photograph of a transistor")

    with pytest.raises(InputError, match=r"image .*image.png: not an image, expected PNG, JPEG, BMP, TIFF, WEBP"):
        _decoded(tmp_path / "image.png")


def test_missing_file_is_no_bad_input(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _decoded(tmp_path / "absent.png")
