"""Artifacts hold what was written, all of it or nothing, and equal content gives equal files."""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.artifacts import (
    ImageSet,
    Region,
    candidate_iterations,
    decode_png,
    encode_png,
    file_sha256,
    half_tensors,
    new_directory,
    new_image_set,
    read_candidates,
    read_json,
    replacing,
    require_directory,
    to_arrays,
    to_tensor,
    write_candidates,
    write_json,
)
from components.errors import InputError
from tests.components.trees import marked, noise

_ROWS: list[dict[str, Any]] = [
    {"id": "train-good-000", "split": "train", "label": "good", "defect": ""},
    {"id": "test-good-000", "split": "test", "label": "good", "defect": ""},
    {"id": "test-bent-000", "split": "test", "label": "bad", "defect": "bent"},
]


def _write_set(path: Path, rows: Sequence[dict[str, Any]] = _ROWS, first_seed: int = 0) -> ImageSet:
    seeds = {row["id"]: first_seed + index for index, row in enumerate(_ROWS)}
    with new_image_set(path) as (writer, _):
        for row in rows:
            mask = marked() > 0 if row["label"] == "bad" else None
            writer.add(noise(seeds[row["id"]]), **row, source=f"{row['id']}.png", mask=mask)
    return ImageSet(path)


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_image_set_returns_the_pixels_and_masks_that_were_written(tmp_path: Path) -> None:
    images = _write_set(tmp_path / "set")

    for index, row in enumerate(_ROWS):
        np.testing.assert_array_equal(images.image(row["id"]), noise(index))
    assert images.mask("train-good-000") is None
    np.testing.assert_array_equal(images.mask("test-bent-000"), marked() > 0)


def test_image_set_lists_ids_by_split_and_label(tmp_path: Path) -> None:
    images = _write_set(tmp_path / "set")

    assert images.ids("train") == ["train-good-000"]
    assert images.ids("test") == ["test-good-000", "test-bent-000"]
    assert images.ids("test", "good") == ["test-good-000"]
    assert images.ids("test", "bad") == ["test-bent-000"]
    assert images.ids("validation") == []


def test_manifest_describes_each_image(tmp_path: Path) -> None:
    manifest = _write_set(tmp_path / "set").manifest

    assert list(manifest.columns) == ["id", "split", "label", "defect", "source", "sha256", "width", "height"]
    assert list(manifest["source"]) == [f"{row['id']}.png" for row in _ROWS]
    assert list(manifest["sha256"]) == [hashlib.sha256(encode_png(noise(index))).hexdigest() for index in range(3)]


def test_manifest_gives_width_and_height_in_that_order(tmp_path: Path) -> None:
    with new_image_set(tmp_path / "set") as (writer, _):
        writer.add(noise(0, height=32, width=48), id="wide", source="wide.png")

    row = ImageSet(tmp_path / "set").manifest.iloc[0]

    assert (row["width"], row["height"]) == (48, 32)


def test_image_set_is_two_files_and_its_tar_holds_png_members_only(tmp_path: Path) -> None:
    _write_set(tmp_path / "set")

    with tarfile.open(tmp_path / "set" / "images.tar") as tar:
        names = tar.getnames()
    assert _entries(tmp_path / "set") == ["images.tar", "manifest.parquet"]
    assert names == [
        "train-good-000.image.png",
        "test-good-000.image.png",
        "test-bent-000.image.png",
        "test-bent-000.mask.png",
    ]


def _write_regions(path: Path, saturation: float, second: int) -> ImageSet:
    regions = [
        Region(name="slot", mask=marked(0, 8) > 0, saturation=saturation),
        Region(name="spot", mask=marked(second, 8) > 0, saturation=1.0),
    ]
    with new_image_set(path) as (writer, _):
        writer.add(noise(0), id="good", source="good.png")
        writer.add(noise(1), id="bad", label="bad", source="bad.png", mask=marked(0, 32) > 0, regions=regions)
    return ImageSet(path)


def test_regions_are_kept_apart_beside_the_mask(tmp_path: Path) -> None:
    images = _write_regions(tmp_path / "set", 0.25, second=4)

    slot, spot = images.regions("bad")
    assert [(region.name, region.saturation) for region in (slot, spot)] == [("slot", 0.25), ("spot", 1.0)]
    np.testing.assert_array_equal(slot.mask, marked(0, 8) > 0)
    np.testing.assert_array_equal(spot.mask, marked(4, 8) > 0)
    np.testing.assert_array_equal(images.mask("bad"), marked(0, 32) > 0)
    assert images.regions("good") == []
    assert _entries(tmp_path / "set") == ["images.tar", "manifest.parquet", "regions.parquet"]


def test_digest_changes_with_the_regions(tmp_path: Path) -> None:
    sets = [(0.25, 4), (0.5, 4), (0.25, 5)]
    digests = [_write_regions(tmp_path / f"set-{index}", *values).digest for index, values in enumerate(sets)]

    assert len(set(digests)) == 3
    assert _write_regions(tmp_path / "again", 0.25, 4).digest == digests[0]


def test_tensor_is_scaled_to_one_and_has_channels_first(tmp_path: Path) -> None:
    extremes = np.zeros((32, 48, 3), dtype=np.uint8)
    extremes[0, 1] = (255, 51, 0)
    with new_image_set(tmp_path / "set") as (writer, _):
        writer.add(extremes, id="a", source="a.png")
        writer.add(extremes, id="b", source="b.png")

    tensor = ImageSet(tmp_path / "set").tensor(["a", "b"])

    assert tensor.shape == (2, 3, 32, 48)
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor[0, :, 0, 1], torch.tensor([1.0, 0.2, 0.0]))
    assert float(tensor.sum()) == pytest.approx(2.4)


def test_digest_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    forward = _write_set(tmp_path / "forward")
    backward = _write_set(tmp_path / "backward", _ROWS[::-1])

    assert forward.digest == backward.digest
    assert len(forward.digest) == 64


@pytest.mark.parametrize(
    "rows",
    [
        _ROWS[:2],
        [{**_ROWS[0], "split": "test"}, *_ROWS[1:]],
        [*_ROWS[:2], {**_ROWS[2], "defect": "stained"}],
    ],
    ids=["one image fewer", "another split", "another defect"],
)
def test_digest_changes_with_the_rows(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    assert _write_set(tmp_path / "set").digest != _write_set(tmp_path / "other", rows).digest


def test_digest_changes_with_the_pixels(tmp_path: Path) -> None:
    assert _write_set(tmp_path / "set").digest != _write_set(tmp_path / "other", first_seed=50).digest


def test_equal_content_gives_equal_tars(tmp_path: Path) -> None:
    _write_set(tmp_path / "first")
    _write_set(tmp_path / "second")

    first, second = ((tmp_path / name / "images.tar").read_bytes() for name in ("first", "second"))

    assert first == second


def _interrupted_image_set(path: Path) -> None:
    with new_image_set(path) as (writer, _):
        writer.add(noise(0), id="a", source="a.png")
        raise KeyboardInterrupt


def _broken_directory(path: Path) -> None:
    with new_directory(path) as directory:
        (directory / "new").touch()
        raise RuntimeError("broken")


def test_unfinished_image_set_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _interrupted_image_set(tmp_path / "set")

    assert _entries(tmp_path) == []


def test_new_directory_appears_under_its_name_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "below" / "artifact"

    with new_directory(target) as directory:
        (directory / "content").write_text("new")
        assert not target.exists()

    assert (target / "content").read_text() == "new"
    assert _entries(target.parent) == ["artifact"]


def test_new_directory_replaces_the_earlier_one(tmp_path: Path) -> None:
    target = tmp_path / "artifact"
    with new_directory(target) as directory:
        (directory / "old").touch()

    with new_directory(target) as directory:
        (directory / "new").touch()

    assert _entries(target) == ["new"]


def test_new_directory_keeps_the_earlier_one_after_an_exception(tmp_path: Path) -> None:
    target = tmp_path / "artifact"
    with new_directory(target) as directory:
        (directory / "old").touch()

    with pytest.raises(RuntimeError, match="broken"):
        _broken_directory(target)

    assert _entries(tmp_path) == ["artifact"]
    assert _entries(target) == ["old"]


def test_new_directory_does_not_take_over_what_a_killed_writer_left(tmp_path: Path) -> None:
    left_over = tmp_path / ".artifact.partial"
    left_over.mkdir()
    (left_over / "half").touch()

    with new_directory(tmp_path / "artifact") as directory:
        (directory / "whole").touch()

    assert _entries(tmp_path) == ["artifact"]
    assert _entries(tmp_path / "artifact") == ["whole"]


@pytest.mark.parametrize("interruption", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("earlier", [None, "earlier"])
def test_interrupted_replacement_keeps_the_earlier_file_and_nothing_else(
    tmp_path: Path, interruption: type[BaseException], earlier: str | None
) -> None:
    target = tmp_path / "file.txt"
    if earlier is not None:
        target.write_text(earlier)

    def write() -> None:
        with replacing(target) as partial:
            partial.write_text("new")
            raise interruption

    with pytest.raises(interruption):
        write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == ({"file.txt": earlier} if earlier else {})


def test_replacement_happens_in_one_step_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("earlier")
    with replacing(target) as partial:
        partial.write_text("new")
        assert partial.parent == target.parent
        assert target.read_text() == "earlier"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file.txt", "new")]


def test_replacement_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file.txt"):
        pass


def test_json_round_trip_with_sorted_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"b": [1, None], "a": "ü"})

    assert read_json(tmp_path / "file.json") == {"a": "ü", "b": [1, None]}
    assert list(json.loads((tmp_path / "file.json").read_text(encoding="utf-8"))) == ["a", "b"]
    assert _entries(tmp_path) == ["file.json"]


def test_json_that_cannot_be_written_keeps_the_earlier_file(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", 1)

    with pytest.raises(TypeError):
        write_json(tmp_path / "file.json", object())

    assert read_json(tmp_path / "file.json") == 1
    assert _entries(tmp_path) == ["file.json"]


def test_json_leaves_no_partial_file_where_its_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file.json").mkdir()

    with pytest.raises(OSError):  # noqa: PT011 (the system words it)
        write_json(tmp_path / "file.json", 1)

    assert _entries(tmp_path) == ["file.json"]


def test_candidates_round_trip(tmp_path: Path) -> None:
    arrays = [noise(seed) for seed in range(3)]

    write_candidates(tmp_path, 0, to_tensor(arrays))
    write_candidates(tmp_path, 1, to_tensor(arrays[::-1]))

    np.testing.assert_array_equal(read_candidates(tmp_path, 0), arrays)
    np.testing.assert_array_equal(read_candidates(tmp_path, 1), arrays[::-1])
    np.testing.assert_array_equal(read_candidates(tmp_path, 1)[1:], arrays[1::-1])


def test_iterations_are_listed_in_ascending_order(tmp_path: Path) -> None:
    image = torch.zeros(1, 3, 8, 8)
    for iteration in (10, 2, 100):
        write_candidates(tmp_path, iteration, image)

    assert candidate_iterations(tmp_path) == [2, 10, 100]
    assert _entries(tmp_path) == [
        "iteration-002.tar",
        "iteration-010.tar",
        "iteration-100.tar",
    ]


def test_equal_candidates_give_equal_tars(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_candidates(tmp_path / name, 0, to_tensor([noise(0)]))

    assert file_sha256(tmp_path / "first" / "iteration-000.tar") == file_sha256(
        tmp_path / "second" / "iteration-000.tar"
    )


def test_arrays_are_clamped_and_rounded() -> None:
    values = torch.tensor([-0.5, 0.0, 100.4 / 255, 100.6 / 255, 1.0, 1.5])

    (array,) = to_arrays(values.view(1, 1, 1, 6).expand(1, 3, 1, 6))

    assert array[0, :, 0].tolist() == [0, 0, 100, 101, 255, 255]
    assert array.dtype == np.uint8


def test_arrays_and_tensors_are_inverse() -> None:
    array = noise(0)

    np.testing.assert_array_equal(to_arrays(to_tensor([array]))[0], array)


def test_png_reader_takes_no_other_format() -> None:
    from PIL import Image, UnidentifiedImageError

    buffer = io.BytesIO()
    Image.fromarray(noise(0)).save(buffer, "JPEG")

    with pytest.raises(UnidentifiedImageError):
        decode_png(buffer.getvalue(), "RGB")


def test_file_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")

    assert file_sha256(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_tensors_are_written_a_few_rows_at_a_time(tmp_path: Path) -> None:
    """As safetensors writes them; what is left out is missed."""
    tensors = {"patchcore/none": torch.rand(5, 3, 2), "padim/none": torch.rand(1, 3, 2), "none": torch.empty(0, 3, 2)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    with half_tensors(tmp_path / "maps.safetensors", shapes) as write:
        for tensor in tensors.values():
            for rows in torch.split(tensor, 2):
                write(rows)
    found = load_file(tmp_path / "maps.safetensors")
    assert all(torch.equal(found[name], tensor.half()) for name, tensor in tensors.items())
    short = pytest.raises(RuntimeError, match=r"few\.safetensors: got \d+ bytes, expected \d+")
    with short, half_tensors(tmp_path / "few.safetensors", shapes) as write:
        write(tensors["padim/none"])


def test_missing_directory_is_named(tmp_path: Path) -> None:
    require_directory(tmp_path, "dataset")
    with pytest.raises(InputError, match=r"dataset: .*absent is not a folder"):
        require_directory(tmp_path / "absent", "dataset")
