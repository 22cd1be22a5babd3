"""The fine-tuning loop: L candidate sets and the updated generator (paper section 4.2)."""

import time
from pathlib import Path
from typing import Any

from components import __version__
from components.artifacts import (
    ITERATIONS,
    STEPS,
    ImageSet,
    candidate_file,
    new_directory,
    write_candidates,
    write_table,
)
from components.compute import seed_everything
from components.generator.checkpoint import Checkpoint
from components.generator.model import save_generator, to_model_range, weights_digest
from components.stage.progress import OnStep
from components.vqgan.config import Config
from components.vqgan.early_stop import SimilarityTrend
from components.vqgan.loop import FineTuning, Groups

History = dict[str, list[dict[str, float]]]
"""Rows of the finished `steps` and `iterations`."""

_OF_THE_SETS = ("seconds", "similarity")
"""What a row of `iterations` holds besides what its last step is told with."""


def fine_tune(
    reference: str | Path,
    augmented: str | Path,
    candidates: str | Path,
    generator: str | Path,
    config: Config,
    on_step: OnStep,
) -> dict[str, Any]:
    """Write the candidate sets of all iterations and the fine-tuned generator.

    With the environment variable `VIGIL_CHECKPOINTS`, a folder or `s3://BUCKET/PREFIX`, a loop that was killed goes on
    after its last finished iteration, to the same digits.

    Args:
        reference: image set with the given images I^o; its good training images are read.
        augmented: image set with I_1 ... I_N.
        candidates: artifact to write.
        generator: artifact to write.
        config: settings.
        on_step: told the losses of every step.

    Returns:
        Scalars of the last iteration, and what the loop ran with.

    Raises:
        InputError: the weights do not fit the architecture.
    """
    seed_everything(config.seed)
    groups = load_groups(reference, augmented)
    identity = {"config": config.model_dump(), "weights": weights_digest(config), **_digests(reference, augmented)}
    checkpoint = Checkpoint({"version": __version__, **identity})
    loop = FineTuning(groups, config)
    trend = SimilarityTrend([given for given, _ in groups], config) if config.patience else None
    with new_directory(candidates) as directory:
        history = _run(loop, directory, checkpoint, trend, on_step)
        write_table(directory / STEPS, history["steps"])
    with new_directory(generator) as directory:
        save_generator(loop.averaged, directory, config, loop.step_index)
    checkpoint.remove()
    last = {f"last_{name}": value for name, value in history["iterations"][-1].items()}
    return last | {"generator_start": config.origin, "perceptual_term": loop.loss.perceptual.name}


def load_groups(reference: str | Path, augmented: str | Path) -> Groups:
    """Each given image [1, 3, height, width] with its augmentations [n, 3, height, width], all in [-1, 1]."""
    given, images = ImageSet(reference), ImageSet(augmented)
    groups = []
    for id in given.ids("train", "good"):
        own = images.manifest.loc[images.manifest["source"] == id, "id"]
        groups.append((to_model_range(given.tensor([id])), to_model_range(images.tensor(list(own)))))
    return groups


def _digests(reference: str | Path, augmented: str | Path) -> dict[str, str]:
    return {"reference": ImageSet(reference).digest, "augmented": ImageSet(augmented).digest}


def _run(
    loop: FineTuning, directory: Path, checkpoint: Checkpoint, trend: SimilarityTrend | None, on_step: OnStep
) -> History:
    """Run the iterations that the checkpoint does not hold yet; rows per step and per iteration."""
    config = loop.config
    history = _resume(loop, directory, checkpoint, on_step)
    rows = history["iterations"]
    while len(rows) < config.iterations and not (trend and trend.has_peaked(rows)):
        started = time.perf_counter()
        iteration = len(rows)
        steps, finished = _run_iteration(loop, iteration, on_step)
        row = _summarise(steps) | {"iteration": iteration, **finished}
        images = loop.generate(config.images)
        if trend:
            row["similarity"] = trend.similarity(images)
        history["steps"] += steps
        rows.append(row | {"seconds": time.perf_counter() - started})
        write_candidates(directory, iteration, images, rows)
        checkpoint.save(loop.state(), history, directory / candidate_file(iteration))
    return history


def _resume(loop: FineTuning, directory: Path, checkpoint: Checkpoint, on_step: OnStep) -> History:
    """Put the loop and the finished candidate sets back to where a killed loop was, and tell its steps again."""
    loaded = checkpoint.load()
    if loaded is None:
        return {"steps": [], "iterations": []}
    tensors, history = loaded
    loop.load_state(tensors)
    for row in history["iterations"]:
        checkpoint.fetch(candidate_file(int(row["iteration"])), directory)
    write_table(directory / ITERATIONS, history["iterations"])
    _tell_again(history, loop.config, on_step)
    return history


def _tell_again(history: History, config: Config, on_step: OnStep) -> None:
    """Tell the steps of a killed loop as it did, but for their speed, to a record that is begun anew."""
    for row in history["steps"]:
        step = int(row["step"])
        scalars = {name: value for name, value in row.items() if name != "step"}
        if step % config.steps == 0:
            whole = history["iterations"][step // config.steps - 1]
            finished = {name: value for name, value in whole.items() if name not in (*scalars, *_OF_THE_SETS)}
            scalars |= finished
        on_step(step, config.iterations * config.steps, scalars)


def _run_iteration(
    loop: FineTuning, iteration: int, on_step: OnStep
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Scalars of every step, and of the iteration; the last step is told with both."""
    rows, finished = list[dict[str, float]](), dict[str, float]()
    config = loop.config
    for index in range(config.steps):
        step = iteration * config.steps + index + 1
        started = time.perf_counter()
        scalars = {"iteration": float(iteration), **loop.step()}
        speed = config.batch_size * config.accumulate / (time.perf_counter() - started)
        if index == config.steps - 1:
            finished = loop.finish_iteration()
        on_step(step, config.iterations * config.steps, {**scalars, **finished, "images_per_second": speed})
        rows.append({"step": float(step), **scalars})
    return rows, finished


def _summarise(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each scalar over the steps of an iteration."""
    names = [name for name in rows[0] if name != "step"]
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}
