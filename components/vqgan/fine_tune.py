"""The fine-tuning loop: L candidate sets and the updated generator (paper section 4.2; the equations are in `loop`)."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from components.errors import check
from components.generator.checkpoint import Checkpoint
from components.generator.model import save_generator, trained_on, weights_digest
from components.preprocessing.transform import preprocessing_of
from components.stage.progress import OnStep
from components.stage.provenance import code_digest
from components.vqgan.config import Config
from components.vqgan.early_stop import SimilarityTrend
from components.vqgan.groups import load_groups
from components.vqgan.loop import FineTuning

_LOG = logging.getLogger(__name__)

History = dict[str, list[dict[str, float]]]
"""Rows of the finished `steps` and `iterations`."""


def fine_tune(
    reference: str | Path,
    augmented: str | Path,
    candidates: str | Path,
    generator: str | Path,
    config: Config,
    on_step: OnStep,
) -> dict[str, Any]:
    """Write the candidate sets of all iterations and the fine-tuned generator.

    With the environment variable `VIGIL_CHECKPOINTS`, a folder or `s3://BUCKET/PREFIX`, a loop that was killed resumes
    after its last finished iteration, to the same digits.

    `reference` holds the given images I^o (good training images), `augmented` I_1 ... I_N; the other two are written.
    Returns the scalars of the last iteration, and what the loop ran with. `InputError`: the weights do not fit.
    """
    seed_everything(config.seed)
    reference_images, groups = ImageSet(reference), load_groups(reference, augmented)
    preprocessing = preprocessing_of(reference_images)
    given = [id for id in reference_images.ids("train", "good") for _ in preprocessing.tile_boxes]
    digests = {"reference": ImageSet(reference).digest, "augmented": ImageSet(augmented).digest}
    identity = {"config": config.model_dump(), "weights": weights_digest(config), **digests}
    checkpoint = Checkpoint({"code": code_digest(), **identity})
    whole = config.variation != "given" or not preprocessing.tiled
    check(whole, "vqgan.variation", "given", "augmentations, in a line with dataset.tiles")
    loop = FineTuning(groups, config)
    trend = SimilarityTrend([given for given, _ in groups], config) if config.patience else None
    with new_directory(candidates) as directory:
        history = _run(loop, directory, checkpoint, trend, on_step, given)
        write_table(directory / STEPS, history["steps"])
    with new_directory(generator) as directory:
        save_generator(loop.averaged, directory, config, loop.state.step)
    checkpoint.remove()
    last = {f"last_{name}": value for name, value in history["iterations"][-1].items()}
    origin = {"generator_start": config.origin, "perceptual_term": loop.loss.perceptual.name}
    return last | origin | images_of_base(reference, config)


def images_of_base(reference: str | Path, config: Config) -> dict[str, int]:
    """How many images of the reference set the base model was trained on, by split; nothing where it was on none.

    A base model that has seen the line's images makes a one-shot figure one of more shots, and one that has seen test
    images makes any figure too good; both are logged.
    """
    files = ImageSet(reference).manifest
    found = {}
    for split in ("train", "test"):
        if seen := trained_on(config, files.loc[files["split"] == split, "sha256"].tolist()):
            found[f"base_trained_on_{split}_images"] = seen
            _LOG.warning("vqgan.weights: %s was trained on %d %s images of this data set", config.origin, seen, split)
    return found


def _run(
    loop: FineTuning,
    directory: Path,
    checkpoint: Checkpoint,
    trend: SimilarityTrend | None,
    on_step: OnStep,
    given: Sequence[str],
) -> History:
    """Section 4.2: L iterations of steps on Eq. 7, each followed by a set of M samples around the `given` ids."""
    config, plan, history = loop.config, loop.plan, _resume(loop, directory, checkpoint, on_step)
    rows = history["iterations"]
    for iteration in range(len(rows), config.iterations):
        if trend and trend.has_peaked(rows):
            break
        started = time.perf_counter()
        losses, finished = list[dict[str, float]](), dict[str, float]()
        for step in range(1, plan.steps + 1):
            step_started = time.perf_counter()
            losses.append({"iteration": float(iteration), **loop.update()})
            speed = config.batch_size * config.accumulate / (time.perf_counter() - step_started)
            if step == plan.steps:
                finished = loop.finish_iteration()
            scalars = {**losses[-1], **finished, "images_per_second": speed}
            on_step(loop.state.step, plan.total_steps, scalars)
            history["steps"].append({"step": float(loop.state.step), **losses[-1]})
        vectors = list[Tensor]()
        sources = [given[index] for index in loop.sampled_around()]
        write_candidates(directory, iteration, _watched(loop.sample(), trend, vectors), sources)
        means = {name: sum(row[name] for row in losses) / len(losses) for name in losses[0]}
        row = {**means, "iteration": iteration, **finished}
        if trend:
            row["similarity"] = trend.similarity(torch.cat(vectors))
        rows.append(row | {"seconds": time.perf_counter() - started})
        write_table(directory / ITERATIONS, rows)
        checkpoint.save(loop.state, history, directory / candidate_file(iteration))
    return history


def _watched(parts: Iterable[Tensor], trend: SimilarityTrend | None, vectors: list[Tensor]) -> Iterator[Tensor]:
    """The images of a set's parts one after the other; the trend's vectors of each part are added."""
    for part in parts:
        if trend:
            vectors.append(trend.embed(part))
        yield from part


def _resume(loop: FineTuning, directory: Path, checkpoint: Checkpoint, on_step: OnStep) -> History:
    """Restore the loop and its finished candidate sets from a checkpoint, and report their steps again."""
    history = checkpoint.load(loop.state)
    if history is None:
        return {"steps": [], "iterations": []}
    for row in history["iterations"]:
        checkpoint.fetch(candidate_file(int(row["iteration"])), directory)
    write_table(directory / ITERATIONS, history["iterations"])
    plan = loop.plan
    for row in history["steps"]:
        step = int(row["step"])
        scalars = {name: value for name, value in row.items() if name != "step"}
        if step % plan.steps == 0:
            whole = history["iterations"][step // plan.steps - 1]
            scalars |= {name: whole[name] for name in ("codes_used", "psnr")}
        on_step(step, plan.total_steps, scalars)
    return history
