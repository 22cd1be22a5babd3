"""How fast images are scored."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def speed(predict: "Callable[[Tensor], object]", images: "Tensor") -> dict[str, float]:
    """Median milliseconds of single images, and images per second in batches, of images [n, 3, height, width].

    Both on one processor core (or on the GPU, where there is one), after one image that is not counted.
    """
    with one_core():
        predict(images[:1])
        single = [_seconds(predict, image.unsqueeze(0)) for image in images]
        batch = _seconds(predict, images)
    return {"latency_ms": 1000 * statistics.median(single), "images_per_second": len(images) / batch}


@contextmanager
def one_core() -> Iterator[None]:
    """Have torch compute the block in one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _seconds(predict: "Callable[[Tensor], object]", images: "Tensor") -> float:
    started = time.perf_counter()
    predict(images)
    return time.perf_counter() - started
