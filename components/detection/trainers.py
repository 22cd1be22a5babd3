"""How each detector of the table learns from good images.

Detectors that are optimised take a number of steps, not of epochs, so that one image and a hundred cost the same.
"""

import tempfile
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.detection.batches import drawn, encoded, encoded_batches
from components.detection.penalty import penalty_images
from components.detectors.config import Config

if TYPE_CHECKING:
    from components.detectors.anomalydino import AnomalyDino
    from components.detectors.cflow import Cflow
    from components.detectors.dinomaly import Dinomaly
    from components.detectors.efficientad import EfficientAd
    from components.detectors.padim import Padim
    from components.detectors.reverse_distillation import ReverseDistillation

_BATCH = 2
_ENGINE_BATCH = 8
_FIBERS = 256
_CALIBRATION_COPIES = 4
_CALIBRATION_IMAGES = 64


def train_patchcore(model: nn.Module, images: Tensor, config: Config) -> None:
    """Fill PatchCore's memory bank by anomalib's engine."""
    from anomalib.engine import Engine

    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(
            default_root_dir=directory,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="auto",
            devices=1,
        )
        engine.fit(model, train_dataloaders=_loader(images))


def train_padim(model: "Padim", images: Tensor, config: Config) -> None:
    """Fit PaDiM's Gaussians."""
    model.fit(*encoded(lambda batch: [model.embed(batch)], images))


def train_anomalydino(model: "AnomalyDino", images: Tensor, config: Config) -> None:
    """Keep the patches of the images."""
    model.fit(*encoded(lambda batch: [model.embed(batch)], images))


def train_cflow(model: "Cflow", images: Tensor, config: Config) -> None:
    """Maximise the likelihood of features (Adam, 2e-4, and the log-sigmoid of the paper's code).

    A step takes 256 features of each scale at random out of a batch of images.
    """
    from components.detectors.cflow import encoded_positions, fibers

    optimiser = torch.optim.Adam(model.flows.parameters(), lr=2e-4)
    for maps in encoded_batches(model.encoder, images, _BATCH, config.cflow_steps, config.seed):
        losses = []
        for level, map in enumerate(maps):
            features, positions = fibers(map), encoded_positions(map)
            chosen = torch.randperm(len(features))[:_FIBERS].to(features.device)
            logp = model.log_likelihoods(level, features[chosen], positions[chosen])
            losses.append(-functional.logsigmoid(logp).mean())
        _step(optimiser, torch.stack(losses).sum())
    model.calibrate(images)


def train_reverse_distillation(model: "ReverseDistillation", images: Tensor, config: Config) -> None:
    """Maximise the cosine of teacher and student at every position (Eq. 2; Adam, 0.005, betas 0.5 and 0.999).

    A batch has no image twice: copies would only repeat themselves in the statistics of batch normalisation.
    """
    steps = config.distillation_steps
    student = nn.ModuleList([model.bottleneck, model.decoder])
    optimiser = torch.optim.Adam(student.parameters(), lr=0.005, betas=(0.5, 0.999))
    for maps in encoded_batches(model.encoder, images, _BATCH, steps, config.seed):
        _step(optimiser, model.loss(maps))


def train_efficientad(model: "EfficientAd", images: Tensor, config: Config) -> None:
    """Train student and autoencoder (Adam, 1e-5 of weight decay, a tenth of the rate in the last 5 %, as in the paper).

    The paper's rate, 1e-4, goes with 70,000 steps; below 10,000 it is 1e-3.
    """
    steps = config.efficientad_steps
    model.normalise_teacher(images)
    trained = [*model.student.parameters(), *model.autoencoder.parameters()]
    optimiser = torch.optim.Adam(trained, lr=1e-4 if steps >= 10_000 else 1e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=max(1, int(0.95 * steps)), gamma=0.1)
    away = penalty_images(config.imagenet_dir, images.shape[-1])
    for batch in drawn(len(images), 1, steps, config.seed):
        chosen = images[batch]
        _step(optimiser, model.loss(chosen, _changed(chosen), next(away).to(images.device)))
        schedule.step()
    model.eval()
    few = images[:_CALIBRATION_IMAGES]
    copies = [_changed(image.unsqueeze(0)) for image in few for _ in range(_CALIBRATION_COPIES)]
    model.calibrate(torch.cat([few, *copies]))


def train_dinomaly(model: "Dinomaly", images: Tensor, config: Config) -> None:
    """Maximise the cosine of encoder and decoder, the hardest points first (StableAdamW, as in the paper's code).

    Warm-up and the share of easy points take the part of the steps that they have of the paper's ten thousand.
    """
    from anomalib.models.image.dinomaly.components import CosineHardMiningLoss, StableAdamW, WarmCosineScheduler

    steps = config.dinomaly_steps
    trained = [*model.bottleneck.parameters(), *model.decoder.parameters()]
    optimiser = StableAdamW(trained, lr=2e-3, weight_decay=1e-4, amsgrad=True)
    warm = min(steps // 2, max(1, steps // 100))
    schedule = WarmCosineScheduler(optimiser, 2e-3, 2e-4, steps, warmup_iters=warm, start_warmup_value=2e-5)
    measure = CosineHardMiningLoss(p_schedule_steps=max(1, steps // 10))
    for step, layers in enumerate(encoded_batches(model.encoder, images, _BATCH, steps, config.seed)):
        _step(optimiser, measure(*model.reconstruct(layers), global_step=step), clip=0.1)
        schedule.step()


TRAINERS: dict[str, Callable[[Any, Tensor, Config], None]] = {
    "patchcore": train_patchcore,
    "cflow": train_cflow,
    "reverse_distillation": train_reverse_distillation,
    "efficientad": train_efficientad,
    "padim": train_padim,
    "anomalydino": train_anomalydino,
    "dinomaly": train_dinomaly,
}
"""Trainers, by the names of `DETECTORS`: of a built detector in training mode, images [n, 3, height, width] in [0, 1]
on its device, and the config."""


def _step(optimiser: torch.optim.Optimizer, loss: Tensor, clip: float = 0.0) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if clip:
        nn.utils.clip_grad_norm_([value for group in optimiser.param_groups for value in group["params"]], clip)
    optimiser.step()


def _changed(image: Tensor) -> Tensor:
    """An image with another brightness, contrast or saturation, by a factor of 0.8 to 1.2 (the paper's section 3.3)."""
    from torchvision.transforms.v2 import functional as change

    functions: Iterable[Any] = (change.adjust_brightness, change.adjust_contrast, change.adjust_saturation)
    chosen = list(functions)[int(torch.randint(3, ()))]
    changed: Tensor = chosen(image, float(torch.empty(()).uniform_(0.8, 1.2)))
    return changed


def _loader(images: Tensor) -> Any:
    from anomalib.data import ImageBatch
    from torch.utils.data import DataLoader

    def collate(rows: list[Tensor]) -> Any:
        return ImageBatch(image=torch.stack(rows))

    return DataLoader(images, batch_size=_ENGINE_BATCH, shuffle=False, collate_fn=collate)  # type: ignore[arg-type]
