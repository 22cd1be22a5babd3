"""Images of any common kind become 8-bit RGB."""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from components import decode
from components.decode import (
    CLIPPED,
    HIDDEN,
    NARROW,
    PAGES,
    decode_file,
    decode_image,
    largest_value,
)
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


def test_opaque_alpha_changes_nothing(tmp_path: Path) -> None:
    alpha = np.full((SIDE, SIDE, 1), 255, dtype=np.uint8)
    path = save(tmp_path / "image.png", np.concatenate([noise(0), alpha], axis=2))

    np.testing.assert_array_equal(_decoded(path), noise(0))
    assert decode_file(path, "image").notes == ()


def test_hidden_pixels_show_black_and_are_noted(tmp_path: Path) -> None:
    alpha = np.full((SIDE, SIDE, 1), 255, dtype=np.uint8)
    alpha[:8], alpha[8:16] = 0, 128
    path = save(tmp_path / "image.png", np.concatenate([noise(0), alpha], axis=2))

    image = _decoded(path)

    assert not image[:8].any()
    assert np.abs(image[8:16] - noise(0)[8:16] * (128 / 255)).max() <= 1
    np.testing.assert_array_equal(image[16:], noise(0)[16:])
    assert decode_file(path, "image").notes == (HIDDEN,)


def test_transparent_colour_of_a_palette_is_hidden(tmp_path: Path) -> None:
    stored = Image.fromarray(np.eye(SIDE, dtype=np.uint8))
    stored.putpalette([10, 20, 30, 200, 100, 50])
    stored.save(tmp_path / "image.png", transparency=0)

    image = _decoded(tmp_path / "image.png")

    assert image[0, 0].tolist() == [200, 100, 50]
    assert image[0, 1].tolist() == [0, 0, 0]


def sixteen_bit(path: Path, values: npt.NDArray[np.integer], suffix: str) -> Path:
    """Write values [height, width, channels] of 16 bits: grey, grey with alpha, RGB or RGBA as PNG, or RGB as TIFF."""
    path = path / f"image.{suffix}"
    if suffix.startswith("tif"):
        tifffile.imwrite(
            path, values.astype(np.uint16), photometric="rgb", compression="zlib" if suffix == "tif" else None
        )
        return path
    height, width, channels = values.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*found) for found in chunks))
    return path


@pytest.mark.parametrize("depth", [10, 12, 14, 16])
@pytest.mark.parametrize(
    ("channels", "suffix"), [(1, "png"), (2, "png"), (3, "png"), (4, "png"), (3, "tif"), (3, "tiff")]
)
def test_bits_of_a_camera_in_sixteen_bit_files_are_scaled_from_their_range(
    tmp_path: Path, depth: int, channels: int, suffix: str
) -> None:
    values = np.random.default_rng(depth).integers(0, 2**depth, (9, 7, channels))
    values[0, 0] = 2**depth - 1
    if channels in (2, 4):
        values[..., -1] = 65535
    path = sixteen_bit(tmp_path, values, suffix)

    found = np.asarray(decode_file(path, "image", bit_depth=depth).image)

    colours = values[..., : 1 if channels < 3 else 3]
    np.testing.assert_array_equal(found, np.broadcast_to(colours * 255 // (2**depth - 1), found.shape))
    assert largest_value(path, "image") == 2**depth - 1


def test_values_above_the_bit_depth_are_white_and_noted(tmp_path: Path) -> None:
    values = np.array([[[0], [1023], [1024], [65535]]])

    decoded = decode_file(sixteen_bit(tmp_path, values, "png"), "image", bit_depth=10)

    assert np.asarray(decoded.image)[0, :, 0].tolist() == [0, 255, 255, 255]
    assert decoded.notes == (CLIPPED,)


def test_eight_bits_have_no_largest_value(tmp_path: Path) -> None:
    assert largest_value(save(tmp_path / "image.png", noise(0)), "image") is None


@pytest.mark.parametrize(("span", "notes"), [(25, (NARROW,)), (26, ())])
def test_under_a_tenth_of_the_range_is_noted(tmp_path: Path, span: int, notes: tuple[str, ...]) -> None:
    path = save(tmp_path / "image.png", np.array([[40, 40 + span]], dtype=np.uint8))

    assert decode_file(path, "image").notes == notes


def test_first_of_several_pages_is_read_and_noted(tmp_path: Path) -> None:
    first, second = (Image.fromarray(noise(seed)) for seed in (0, 1))
    first.save(tmp_path / "image.tif", save_all=True, append_images=[second])

    np.testing.assert_array_equal(_decoded(tmp_path / "image.tif"), noise(0))
    assert decode_file(tmp_path / "image.tif", "image").notes == (PAGES,)


def test_pillows_own_limits_do_not_bind_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    path = save(tmp_path / "image.png", noise(0))

    assert decode_file(path, "image", max_megapixels=1).image.size == (SIDE, SIDE)
    assert Image.MAX_IMAGE_PIXELS == 16


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
    monkeypatch.setattr(decode, "MEGAPIXEL", SIDE)
    _decoded(path)

    monkeypatch.setattr(decode, "MEGAPIXEL", SIDE - 1)
    limit = r"at most 64 megapixels; dataset.max_megapixels allows more"
    with pytest.raises(InputError, match=rf"image .*image.png: size is 64x64, expected {limit}"):
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
