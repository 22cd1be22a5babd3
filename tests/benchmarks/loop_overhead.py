"""What the fine-tuning loop costs beside the arithmetic it cannot do without, as ratios in one run.

The bare step does the same forward passes, backward pass and optimiser step on the same tensors, without drawing
batches, counting codes or reading scalars. Bare and whole steps take turns, so that a busy machine slows both. Memory
is that of the whole process. Run it from the project's folder: `python -m tests.benchmarks.loop_overhead`.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import psutil
import torch

from components.compute import device, seed_everything
from components.vqgan.config import UNTRAINED, Config
from components.vqgan.latents import sample_latents
from components.vqgan.loop import FineTuning, Groups
from components.vqgan.losses import mse_loss
from components.vqgan.model import decode, encode, quantise
from components.vqgan.vq_loss import ADAM_BETAS

_MIB = 2**20


def random_groups(size: int, images: int) -> Groups:
    """A smooth random image, and noisy copies of it."""
    coarse = torch.rand(1, 3, 8, 8) * 2 - 1
    given = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)
    return [(given, (given + 0.05 * torch.randn(images, 3, size, size)).clamp(-1, 1))]


def bare_step(loop: FineTuning, groups: Groups, adversarial: bool) -> Callable[[], None]:
    """The loop's arithmetic on fixed tensors, with the loop's own models."""
    config, model = loop.config, loop.model
    given = groups[0][0].to(device())
    images = groups[0][1][: config.batch_size].to(device())
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, ADAM_BETAS)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        quantised, codebook, _ = quantise(model, encode(model, images))
        generated = decode(model, sample_latents(quantised, len(images), config))
        reconstructed = decode(model, quantised)
        vq = loop.loss(images, reconstructed, codebook, adversarial=adversarial).total
        (mse_loss(given, generated) + config.vq_weight * vq).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if adversarial:
            loop.loss.update_discriminator([(images, reconstructed.detach())])

    return step


def seconds(call: Callable[[], object]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def ratio(call: Callable[[], object], other: Callable[[], object], rounds: int) -> float:
    """Median time of a call over that of another; they take turns, after one of each that does not count."""
    for each in (call, other):
        each()
    pairs = [(seconds(call), seconds(other)) for _ in range(rounds)]
    return statistics.median(first for first, _ in pairs) / statistics.median(second for _, second in pairs)


def overhead(config: Config, groups: Groups, rounds: int, adversarial: bool) -> float:
    """Median over rounds of the whole step's time over the bare step's."""
    loop = FineTuning(groups, config)
    return ratio(loop.step, bare_step(loop, groups, adversarial), rounds)


def channels_last_gain(config: Config, groups: Groups, rounds: int) -> float:
    """Median time of a whole step in torch's default memory format over the one in channels-last, the loop's."""
    loop, other = FineTuning(groups, config), FineTuning(groups, config)
    for network in (other.model, other.loss.perceptual, other.loss.discriminator):
        network.to(memory_format=torch.contiguous_format)
    return ratio(other.step, loop.step, rounds)


def memory_trend(config: Config, groups: Groups, iterations: int) -> tuple[float, float]:
    """Resident MiB after a tenth of the iterations and after all, of one step and one set each."""
    loop = FineTuning(groups, config)
    resident = []
    for _ in range(iterations):
        loop.step()
        loop.finish_iteration()
        loop.generate(config.images)
        resident.append(psutil.Process().memory_info().rss / _MIB)
    return resident[iterations // 10], resident[-1]


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=200, help="of the memory's trend, at 64 pixels")
    given = parser.parse_args()
    seed_everything(0)
    config = Config(weights=UNTRAINED, images=4)
    groups = random_groups(given.image_size, 16)
    for adversarial in (False, True):
        chosen = Config(weights=UNTRAINED, images=4, adversarial_start=0 if adversarial else 10**6)
        term = f"{'with' if adversarial else 'without'} adversarial term"
        print(f"whole step over bare step, {term}: {overhead(chosen, groups, given.rounds, adversarial):.3f}")
        gain = channels_last_gain(chosen, groups, given.rounds)
        print(f"default memory format over channels-last, whole step {term}: {gain:.3f}")
    early, late = memory_trend(config, random_groups(64, 8), given.iterations)
    print(
        f"resident memory after {given.iterations // 10} and {given.iterations} iterations: {early:.0f}, {late:.0f} MiB"
    )


if __name__ == "__main__":
    main()
