"""Images that are read when they are asked for."""

import tracemalloc

import pytest
import torch

from components.artifacts import ImageSet
from components.preprocessing import stored
from components.preprocessing.geometry import Box
from components.preprocessing.stored import Reader, StoredImages, in_batches
from tests.components.image_sets import SIZE, write_added

COUNT = 40
IMAGE_BYTES = 3 * SIZE * SIZE


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return ImageSet(write_added(tmp_path_factory.mktemp("stored") / "images", COUNT, ["given"]))


def test_slices_indices_and_tiles_are_those_of_the_whole_tensor(images: ImageSet) -> None:
    ids = images.ids("train")[:3]
    whole, tile = images.tensor(ids), Box(8, 0, 40, 32)
    found = StoredImages(Reader(images), [*((id, None) for id in ids), (ids[1], tile)])
    assert len(found) == 4
    assert torch.equal(found[:3], whole)
    assert torch.equal(found[torch.tensor([2, 0, 0])], whole[[2, 0, 0]])
    assert torch.equal(found[3:], whole[1:2, :, 0:32, 8:40])
    assert [len(batch) for batch in in_batches(StoredImages(Reader(images), [(id, None) for id in ids]), 2)] == [2, 1]


def test_images_are_right_where_fewer_are_kept_than_asked_for(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "_KEPT_BYTES", 2 * IMAGE_BYTES)
    ids = images.ids("train")[:5]
    found, whole = StoredImages(Reader(images), [(id, None) for id in ids]), images.tensor(ids)
    for places in ([0, 1, 2, 3, 4], [4, 0, 4, 1], [2, 2, 3]):
        assert torch.equal(found[torch.tensor(places)], whole[places])


def test_few_of_many_images_are_in_memory(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_KEPT_BYTES", 4 * IMAGE_BYTES)
    found = StoredImages(Reader(images), [(id, None) for id in images.ids("train")])
    found[:1]
    tracemalloc.start()
    for _ in in_batches(found, 2):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert IMAGE_BYTES < peak < COUNT / 3 * IMAGE_BYTES
