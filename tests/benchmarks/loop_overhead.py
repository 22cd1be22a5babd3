"""What the fine-tuning loop costs beside the arithmetic it cannot do without, as ratios in one run.

The bare step does the same forward passes, backward pass and optimiser step on the same tensors, without drawing
batches, counting codes or reading scalars. Bare and whole steps take turns, so that a busy machine slows both. The
whole loop is the stage's function from image sets to candidate sets and generator, with a checkpoint after every
iteration; bare steps are measured before and after it. Memory is that of the whole process. Run it from the project's
folder: `python -m tests.benchmarks.loop_overhead`.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from components.artifacts import new_image_set, to_arrays
from components.compute import device, seed_everything
from components.generator import layers
from components.generator.checkpoint import CHECKPOINTS
from components.generator.config import UNTRAINED
from components.generator.losses import ADAM_BETAS
from components.generator.model import decode, encode, quantise, to_image_range
from components.networks import perceptual
from components.vqgan.config import Config
from components.vqgan.fine_tune import fine_tune
from components.vqgan.groups import Groups
from components.vqgan.latents import Variation, sample_latents
from components.vqgan.loop import FineTuning, mse_loss

_MIB = 2**20


def random_groups(size: int, images: int) -> Groups:
    """A smooth random image, and noisy copies of it."""
    coarse = torch.rand(1, 3, 8, 8) * 2 - 1
    given = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)
    return [(given, (given + 0.05 * torch.randn(images, 3, size, size)).clamp(-1, 1))]


def bare_step(loop: FineTuning, groups: Groups, adversarial: bool) -> Callable[[], None]:
    """The loop's arithmetic on fixed tensors, with the loop's own models."""
    config, model = loop.config, loop.model
    given = groups[0][0][:].to(device())
    images = groups[0][1][: config.batch_size].to(device())
    optimizer = torch.optim.Adam(model.parameters(), config.step_size, ADAM_BETAS)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        quantised, codebook, _ = quantise(model, encode(model, images))
        variation = Variation.pooled([quantised.detach()])
        generated = decode(model, sample_latents(quantised, len(images), config, variation))
        reconstructed = decode(model, quantised)
        vq = loop.loss(images, reconstructed, codebook, adversarial=adversarial).total
        (mse_loss(given, generated, config.mse_mean) + config.vq_weight * vq).backward()  # type: ignore[no-untyped-call]
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
    return ratio(loop.update, bare_step(loop, groups, adversarial), rounds)


def channels_last_gain(config: Config, groups: Groups, rounds: int) -> float:
    """Median time of a whole step in torch's default memory format over the one in channels-last, the loop's."""
    loop, other = FineTuning(groups, config), FineTuning(groups, config)
    for network in (other.model, other.loss.perceptual, other.loss.discriminator):
        network.to(memory_format=torch.contiguous_format)
    return ratio(other.update, loop.update, rounds)


def quick_layers_gain(config: Config, groups: Groups, rounds: int) -> float:
    """Median time of a whole step with diffusers' and timm's own layers over the one with the loop's quick forms."""
    loop = FineTuning(groups, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "quicken", lambda _: None)
        patch.setattr(perceptual, "folded", lambda network: network)
        other = FineTuning(groups, config)
    return ratio(other.update, loop.update, rounds)


def bfloat16_gain(config: Config, groups: Groups, rounds: int) -> float:
    """Median time of a whole step in single precision over the one with `precision: bfloat16`."""
    lower = FineTuning(groups, config.replace(precision="bfloat16"))
    return ratio(FineTuning(groups, config).update, lower.update, rounds)


def bare_set(loop: FineTuning, groups: Groups) -> Callable[[], None]:
    """The arithmetic of a candidate set: encoding of the augmentations, sampling, decoding."""
    config, model, size = loop.config, loop.model, loop.config.batch_size

    @torch.no_grad()
    def generate() -> None:
        batches = torch.split(groups[0][1][:].to(device()), size)
        quantised = torch.cat([quantise(model, encode(model, batch))[0] for batch in batches])
        samples = sample_latents(quantised, config.images, config, Variation.pooled([quantised]))
        for batch in torch.split(samples, size):
            decode(model, batch)

    return generate


def bare_seconds(config: Config, groups: Groups, rounds: int) -> float:
    """Time of all bare steps and sets of a loop, by medians over rounds."""
    loop = FineTuning(groups, config)
    total = loop.plan.total_steps
    late = total - math.ceil(config.adversarial_start * total)
    parts = {
        bare_step(loop, groups, adversarial=False): total - late,
        bare_step(loop, groups, adversarial=True): late,
        bare_set(loop, groups): config.iterations,
    }
    for call in parts:
        call()
    return sum(count * statistics.median(seconds(call) for _ in range(rounds)) for call, count in parts.items())


def whole_loop(config: Config, size: int, rounds: int) -> float:
    """Time of the stage's function over the mean of the bare arithmetic's before and after it."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder)
        patch.setenv(CHECKPOINTS, str(root / "checkpoints"))
        groups = random_groups(size, 16)
        reference, augmented = written(root, groups)
        before = bare_seconds(config, groups, rounds)
        started = time.perf_counter()
        fine_tune(reference, augmented, root / "candidates", root / "generator", config, lambda *_: None)
        whole = time.perf_counter() - started
        return whole / statistics.mean((before, bare_seconds(config, groups, rounds)))


def written(root: Path, groups: Groups) -> tuple[Path, Path]:
    """The image sets of one given image and of its augmentations."""
    (given, images), *_ = groups
    for name, tensors in (("reference", given[:]), ("augmented", images[:])):
        with new_image_set(root / name) as (writer, _):
            for index, image in enumerate(to_arrays(to_image_range(tensors))):
                writer.add(image, id=f"{name}-{index}", source="reference-0")
    return root / "reference", root / "augmented"


def memory_trend(config: Config, groups: Groups, iterations: int) -> tuple[float, float]:
    """Resident MiB after a tenth of the iterations and after all, of one step and one set each."""
    loop = FineTuning(groups, config)
    resident = []
    for _ in range(iterations):
        loop.update()
        loop.finish_iteration()
        for _ in loop.sample():
            pass
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
        chosen = Config(weights=UNTRAINED, images=4, adversarial_start=float(not adversarial))
        term = f"{'with' if adversarial else 'without'} adversarial term"
        print(f"whole step over bare step, {term}: {overhead(chosen, groups, given.rounds, adversarial):.3f}")
        gain = channels_last_gain(chosen, groups, given.rounds)
        print(f"default memory format over channels-last, whole step {term}: {gain:.3f}")
    print(f"plain over quick layers, whole step: {quick_layers_gain(config, groups, given.rounds):.3f}")
    print(f"float32 over bfloat16, whole step: {bfloat16_gain(config, groups, given.rounds):.3f}")
    ratio_of_loops = whole_loop(Config(), given.image_size, given.rounds)
    print(f"whole loop over its bare steps and sets: {ratio_of_loops:.3f}")
    early, late = memory_trend(config, random_groups(64, 8), given.iterations)
    print(
        f"resident memory after {given.iterations // 10} and {given.iterations} iterations: {early:.0f}, {late:.0f} MiB"
    )


if __name__ == "__main__":
    main()
