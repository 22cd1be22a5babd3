"""EfficientAD (Batzner et al., 2024): a student that follows a teacher on normal images only, and an autoencoder.

The paper's teacher is a patch description network (PDN) that was distilled from a WideResNet-101 on ImageNet. With its
weights, networks are the paper's PDN-S. Without, a *variant*: frozen backbone features are the teacher, and student and
autoencoder are small networks on the same grid. Losses and scores are the paper's in both.
"""

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.efficient_ad.torch_model import AutoEncoder, SmallPatchDescriptionNetwork
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2 import functional as change

from components.detectors.batches import Images, drawn, optimise, singly
from components.detectors.encoder import Encoder, stacked
from components.detectors.scoring import highest
from components.errors import check
from components.listing.layouts import PLAIN, Listing
from components.listing.opened import opened
from components.weights.fetch import fetch, load_into, load_tensors

if TYPE_CHECKING:
    from components.detectors.config import Config

_LEVELS = (2, 3)
_PDN_IMAGE_SIZE = 256
_PDN_CHANNELS = 384
_PDN_BORDER = 4
_HARD_QUANTILE = 0.999
_QUANTILES = (0.9, 0.995)
_MOST_QUANTILE_VALUES = 2**24
_CODE = 64
_CODE_SIDE = 8
_CALIBRATION_COPIES = 4
_CALIBRATION_IMAGES = 64
_PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins", "rocket")
_MOST_FILES = 2000
_GREY = 0.3


def build(config: "Config", image_size: int, pretrained: bool) -> "EfficientAd":
    """EfficientAD-S with the paper's teacher, as anomalib releases it; or the variant, on features of stride 8 and 16.

    Images or weights that do not fit the paper's networks raise `InputError`.
    """
    if not config.teacher_weights:
        encoder = Encoder(config.backbone, _LEVELS, reference=config.backbone_reference, pretrained=pretrained)
        channels = sum(encoder.channels)
        networks = PatchFeatures(encoder), Student(channels), Autoencoder(channels)
        return EfficientAd(*networks, channels, border=0, image_score=config.image_score)
    expected = f"{_PDN_IMAGE_SIZE} or more for EfficientAD's own networks"
    check(image_size >= _PDN_IMAGE_SIZE, "dataset.image_size", image_size, expected)
    teacher = SmallPatchDescriptionNetwork(_PDN_CHANNELS)
    if pretrained:
        name = config.teacher_weights.partition("#")[0]
        load_into(teacher, load_tensors(fetch(config.teacher_weights)), name)
    student = SmallPatchDescriptionNetwork(2 * _PDN_CHANNELS)
    autoencoder, channels = PaperAutoencoder(_PDN_CHANNELS), _PDN_CHANNELS
    score = config.image_score
    return EfficientAd(teacher, student, autoencoder, channels, border=_PDN_BORDER, image_score=score)


def train(model: "EfficientAd", images: Images, config: "Config") -> None:
    """Train student and autoencoder (Adam, 1e-5 of weight decay, a tenth of the rate in the last 5 %, as in the paper).

    The paper's rate, 1e-4, goes with 70,000 steps; below 10,000 it is 1e-3.
    """
    steps = config.efficientad_steps
    model.normalise_teacher(images)
    trained = [*model.student.parameters(), *model.autoencoder.parameters()]
    optimiser = torch.optim.Adam(trained, lr=1e-4 if steps >= 10_000 else 1e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=max(1, int(0.95 * steps)), gamma=0.1)
    penalty = penalty_images(config.imagenet_dir, images.shape[-1])
    for batch in drawn(len(images), 1, steps, config.seed):
        chosen = images[batch]
        optimise(optimiser, model.loss(chosen, _changed(chosen), next(penalty).to(chosen.device)))
        schedule.step()
    model.eval()
    few = images[:_CALIBRATION_IMAGES]
    copies = [_changed(image.unsqueeze(0)) for image in few for _ in range(_CALIBRATION_COPIES)]
    model.calibrate(torch.cat([few, *copies]))


class PatchFeatures(nn.Module):
    """Teacher of the variant: locally averaged backbone features, stacked at stride 8, as PatchCore has them."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, channels, height / 8, width / 8] of images in [0, 1]."""
        return stacked([functional.avg_pool2d(map, 3, 1, 1) for map in self.encoder(images)])


class Student(nn.Module):
    """Student of the variant: twice the teacher's C features at stride 8, each of which sees 54 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        halving = (nn.Conv2d(*pair, 4, 2, 1) for pair in pairwise((3, 32, 64, 128)))
        same = (nn.Conv2d(128, 128, 3, 1, 1) for _ in range(2))
        self.layers = nn.Sequential(*_rectified(*halving, *same), nn.Conv2d(128, 2 * channels, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, 2 C, height / 8, width / 8]; the second half is for the autoencoder."""
        found: Tensor = self.layers(2 * images - 1)
        return found


class Autoencoder(nn.Module):
    """Autoencoder of the variant: images through 64 numbers, which see all of them, to C features of stride 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        halving = (nn.Conv2d(*pair, 4, 2, 1) for pair in pairwise((3, 32, 32, 64, 64, _CODE)))
        self.encode = nn.Sequential(*_rectified(*halving))
        self.squeeze = nn.Conv2d(_CODE, _CODE, _CODE_SIDE)
        self.decode = nn.ModuleList(nn.Conv2d(_CODE, _CODE, 3, 1, 1) for _ in range(3))
        self.head = nn.Conv2d(_CODE, channels, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, C, height / 8, width / 8] of images in [0, 1]."""
        height, width = (side // 8 for side in images.shape[-2:])
        code = functional.interpolate(self.encode(2 * images - 1), size=(_CODE_SIDE, _CODE_SIDE), mode="bilinear")
        code = self.squeeze(code)
        for parts, convolution in zip((4, 2, 1), self.decode, strict=True):
            enlarged = functional.interpolate(code, size=(height // parts, width // parts), mode="bilinear")
            code = functional.relu(convolution(enlarged))
        found: Tensor = self.head(code)
        return found


class PaperAutoencoder(nn.Module):
    """The paper's autoencoder, by anomalib."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = AutoEncoder(out_channels=channels, padding=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, channels, h, w] of images in [0, 1], on the grid of the PDN."""
        found: Tensor = self.network(images, images.shape[-2:])
        return found


class EfficientAd(nn.Module):
    """Teacher, student and autoencoder, with the losses and the score of the paper."""

    teacher_mean: Tensor
    teacher_std: Tensor
    quantiles: Tensor

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        autoencoder: nn.Module,
        channels: int,
        *,
        border: int,
        image_score: str,
    ) -> None:
        """Take the networks from images in [0, 1] to features [n, channels, h, w], the student's to 2 channels.

        `border` cells, which the maps lack on each side, are scored 0.
        """
        super().__init__()
        self.teacher = teacher.requires_grad_(False).eval()
        self.student, self.autoencoder = student, autoencoder
        self.channels, self.border, self.image_score = channels, border, image_score
        self.register_buffer("teacher_mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("teacher_std", torch.ones(1, channels, 1, 1))
        self.register_buffer("quantiles", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))

    def normalise_teacher(self, images: Images) -> None:
        """Set mean and deviation of the teacher's channels by the training images (section 3.4 of the paper)."""
        found = torch.cat([self.teacher(image) for image in singly(images)])
        self.teacher_mean = found.mean(dim=(0, 2, 3), keepdim=True)
        self.teacher_std = found.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)

    def teach(self, images: Tensor) -> Tensor:
        """The teacher's normalised features, without gradients."""
        with torch.no_grad():
            found: Tensor = (self.teacher(images) - self.teacher_mean) / self.teacher_std
        return found

    def loss(self, images: Tensor, changed: Tensor, penalty: Tensor) -> Tensor:
        """Sum of the losses of student and autoencoder (Algorithm 1 of the paper), of images [n, 3, h, w] in [0, 1].

        The autoencoder sees `changed`, the images with another brightness, contrast or saturation; `penalty` are images
        of other things, on which the student must not follow the teacher.
        """
        taught, taught_changed = self.teach(torch.cat([images, changed])).chunk(2)
        sizes = [len(images), len(penalty), len(changed)]
        first, second, third = self.student(torch.cat([images, penalty, changed])).split(sizes)
        local, local_penalty, whole = first[:, : self.channels], second[:, : self.channels], third[:, self.channels :]
        squares = (taught - local) ** 2
        hard = squares[squares >= _quantiles(squares, (_HARD_QUANTILE,))[0]].mean()
        away = (local_penalty**2).mean()
        rebuilt = self.autoencoder(changed)
        autoencoder = ((taught_changed - rebuilt) ** 2).mean()
        agreement = ((rebuilt - whole) ** 2).mean()
        total: Tensor = hard + away + autoencoder + agreement
        return total

    def errors(self, images: Tensor) -> Tensor:
        """Squared errors [n, 2, h, w], averaged over channels: student against teacher, and against autoencoder."""
        student = self.student(images)
        local = ((self.teach(images) - student[:, : self.channels]) ** 2).mean(dim=1)
        whole = ((self.autoencoder(images) - student[:, self.channels :]) ** 2).mean(dim=1)
        return torch.stack([local, whole], dim=1)

    def calibrate(self, images: Tensor) -> None:
        """Set the quantiles that bring both maps to one scale, by good images (section 3.4 of the paper)."""
        with torch.no_grad():
            found = torch.cat([self.errors(image.unsqueeze(0)) for image in images])
        self.quantiles = torch.stack([_quantiles(found[:, index], _QUANTILES) for index in range(2)])

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: the mean of both maps, each 0 at its 90 % quantile and 0.1 at its 99.5 %."""
        low, high = self.quantiles[:, 0].view(1, 2, 1, 1), self.quantiles[:, 1].view(1, 2, 1, 1)
        errors = functional.pad(self.errors(images), [self.border] * 4)
        errors = functional.interpolate(errors, size=images.shape[-2:], mode="bilinear")
        found = (0.1 * (errors - low) / (high - low).clamp_min(1e-12)).mean(dim=1, keepdim=True)
        return InferenceBatch(pred_score=highest(found, self.image_score), anomaly_map=found)


def penalty_images(source: str, size: int) -> Iterator[Tensor]:
    """Endless images [1, 3, size, size] in [0, 1] on which the student must not follow; ImageNet in the paper.

    The source is a folder or `s3://BUCKET/PREFIX`, of which at most 2,000 images are taken, at any depth and evenly
    spaced in the order of their names; one without images raises `InputError`. As in the paper, an image is resized to
    twice the size and cut at its centre, and is grey with probability 0.3. Without a source, scikit-image's few
    photographs are cut at random. Images are drawn from torch's global generator.
    """
    from PIL import Image
    from skimage import data
    from torchvision.transforms import v2

    side = (2 * size, 2 * size)
    if source:
        cut: v2.Transform = v2.CenterCrop(size)
        originals = []
        with opened(source, PLAIN, "detection.imagenet_dir", wanted=_evenly_spaced) as folder:
            for found in folder.listing.sources:
                with Image.open(folder.path(found.name)) as image:
                    originals.append(image.convert("RGB").resize(side, Image.Resampling.BILINEAR))
    else:
        cut = v2.RandomCrop(size)
        originals = [Image.fromarray(getattr(data, name)()).convert("RGB") for name in _PHOTOGRAPHS]
    transform = v2.Compose([v2.Resize(side), v2.RandomGrayscale(_GREY), cut])
    while True:
        for index in torch.randperm(len(originals)).tolist():
            yield change.pil_to_tensor(transform(originals[index])).unsqueeze(0) / 255


def _evenly_spaced(listing: Listing) -> Listing:
    """A listing of at most `_MOST_FILES` images."""
    sources = listing.sources
    return dataclasses.replace(listing, sources=sources[:: -(-len(sources) // _MOST_FILES)])


def _changed(image: Tensor) -> Tensor:
    """An image with another brightness, contrast or saturation, by a factor of 0.8 to 1.2 (the paper's section 3.3)."""
    functions = (change.adjust_brightness, change.adjust_contrast, change.adjust_saturation)
    chosen = functions[int(torch.randint(3, ()))]
    changed: Tensor = chosen(image, float(torch.empty(()).uniform_(0.8, 1.2)))
    return changed


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Quantiles of a tensor; of evenly spaced values of it, where torch takes no more."""
    flat = values.detach().flatten()
    step = -(-len(flat) // _MOST_QUANTILE_VALUES)
    found: Tensor = torch.quantile(flat[::step], torch.tensor(shares, device=flat.device))
    return found


def _rectified(*convolutions: nn.Conv2d) -> list[nn.Module]:
    return [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
