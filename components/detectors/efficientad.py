"""EfficientAD (Batzner et al., 2024): a student that follows a teacher on normal images only, and an autoencoder.

The paper's teacher is a patch description network (PDN) that was distilled from a WideResNet-101 on ImageNet. With its
weights, networks are the paper's PDN-S. Without, a *variant*: frozen backbone features are the teacher, and student and
autoencoder are small networks on the same grid. Losses and scores are the paper's in both.
"""

from itertools import pairwise

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.efficient_ad.torch_model import AutoEncoder, SmallPatchDescriptionNetwork
from torch import Tensor, nn
from torch.nn import functional

from components.detectors.encoder import Encoder, stacked
from components.weights import fetch as weights

LEVELS = (2, 3)
"""Feature maps of stride 8 and 16, which the variant's teacher stacks."""
PDN_IMAGE_SIZE = 256
"""Least side of an image for the paper's networks."""
_PDN_CHANNELS = 384
_PDN_BORDER = 4
_HARD_QUANTILE = 0.999
_QUANTILES = (0.9, 0.995)
_MOST_QUANTILE_VALUES = 2**24
_CODE = 64
_CODE_SIDE = 8


class PatchFeatures(nn.Module):
    """Teacher of the variant: locally averaged backbone features, stacked at stride 8, as PatchCore has them."""

    def __init__(self, encoder: Encoder) -> None:
        """Take a backbone."""
        super().__init__()
        self.encoder = encoder
        self.channels = sum(encoder.channels)

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, channels, height / 8, width / 8] of images in [0, 1]."""
        return stacked([functional.avg_pool2d(map, 3, 1, 1) for map in self.encoder(images)])


class Student(nn.Module):
    """Student of the variant: images in [0, 1] to 2 C features of stride 8, each of which sees 54 pixels."""

    def __init__(self, channels: int) -> None:
        """Build it for C = `channels` features of the teacher."""
        super().__init__()
        self.layers = nn.Sequential(
            *_rectified(nn.Conv2d(3, 32, 4, 2, 1)),
            *_rectified(nn.Conv2d(32, 64, 4, 2, 1)),
            *_rectified(nn.Conv2d(64, 128, 4, 2, 1)),
            *_rectified(nn.Conv2d(128, 128, 3, 1, 1)),
            *_rectified(nn.Conv2d(128, 128, 3, 1, 1)),
            nn.Conv2d(128, 2 * channels, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, 2 C, height / 8, width / 8]; the second half is for the autoencoder."""
        found: Tensor = self.layers(2 * images - 1)
        return found


class Autoencoder(nn.Module):
    """Autoencoder of the variant: images through 64 numbers, which see all of them, to C features of stride 8."""

    def __init__(self, channels: int) -> None:
        """Build it for C = `channels` features of the teacher."""
        super().__init__()
        widths = (3, 32, 32, 64, 64, 64)
        layers = (layer for pair in pairwise(widths) for layer in _rectified(nn.Conv2d(*pair, 4, 2, 1)))
        self.encode = nn.Sequential(*layers)
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
        """Build it for the channels of the teacher."""
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
        self, teacher: nn.Module, student: nn.Module, autoencoder: nn.Module, channels: int, border: int
    ) -> None:
        """Take the networks.

        Args:
            teacher: images in [0, 1] to features [n, channels, h, w].
            student: the same to [n, 2 channels, h, w].
            autoencoder: the same to [n, channels, h, w].
            channels: of the teacher.
            border: cells that the maps lack on each side, which are scored 0.
        """
        super().__init__()
        self.teacher = teacher.requires_grad_(False).eval()
        self.student, self.autoencoder = student, autoencoder
        self.channels, self.border = channels, border
        self.register_buffer("teacher_mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("teacher_std", torch.ones(1, channels, 1, 1))
        self.register_buffer("quantiles", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))

    def normalise_teacher(self, images: Tensor) -> None:
        """Set mean and deviation of the teacher's channels by the training images (section 3.4 of the paper)."""
        found = torch.cat([self.teacher(image.unsqueeze(0)) for image in images])
        self.teacher_mean = found.mean(dim=(0, 2, 3), keepdim=True)
        self.teacher_std = found.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-6)

    def teach(self, images: Tensor) -> Tensor:
        """The teacher's normalised features, without gradients."""
        with torch.no_grad():
            found: Tensor = (self.teacher(images) - self.teacher_mean) / self.teacher_std
        return found

    def loss(self, images: Tensor, changed: Tensor, penalty: Tensor) -> Tensor:
        """Sum of the losses of student and autoencoder (Algorithm 1 of the paper).

        Args:
            images: training images [n, 3, height, width] in [0, 1].
            changed: the same with another brightness, contrast or saturation, for the autoencoder.
            penalty: images of other things, on which the student must not follow the teacher.
        """
        taught, taught_changed = self.teach(torch.cat([images, changed])).chunk(2)
        local, local_penalty, whole = self._student_parts(images, penalty, changed)
        squares = (taught - local) ** 2
        hard = squares[squares >= _quantiles(squares, (_HARD_QUANTILE,))[0]].mean()
        away = (local_penalty**2).mean()
        rebuilt = self.autoencoder(changed)
        autoencoder = ((taught_changed - rebuilt) ** 2).mean()
        agreement = ((rebuilt - whole) ** 2).mean()
        total: Tensor = hard + away + autoencoder + agreement
        return total

    def _student_parts(self, images: Tensor, penalty: Tensor, changed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of one pass: the part that follows the teacher for images and penalty, and the autoencoder's for changed."""
        sizes = [len(images), len(penalty), len(changed)]
        first, second, third = self.student(torch.cat([images, penalty, changed])).split(sizes)
        return first[:, : self.channels], second[:, : self.channels], third[:, self.channels :]

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
        """Scores and maps: the mean of both maps, each 0 at its 90 % quantile and 0.1 at its 99.5 %; the maximum."""
        low, high = self.quantiles[:, 0].view(1, 2, 1, 1), self.quantiles[:, 1].view(1, 2, 1, 1)
        errors = functional.pad(self.errors(images), [self.border] * 4)
        errors = functional.interpolate(errors, size=images.shape[-2:], mode="bilinear")
        found = (0.1 * (errors - low) / (high - low).clamp_min(1e-12)).mean(dim=1, keepdim=True)
        return InferenceBatch(pred_score=found.amax(dim=(1, 2, 3)), anomaly_map=found)


def build_variant(encoder: Encoder) -> EfficientAd:
    """EfficientAD with backbone features for a teacher."""
    teacher = PatchFeatures(encoder)
    channels = teacher.channels
    return EfficientAd(teacher, Student(channels), Autoencoder(channels), channels, border=0)


def build_paper(reference: str, pretrained: bool) -> EfficientAd:
    """EfficientAD-S with the paper's teacher.

    Args:
        reference: weights of the teacher, `pretrained_teacher_small.pth` of anomalib's release.
        pretrained: whether they are loaded.

    Raises:
        InputError: the weights are missing or do not fit.
    """
    teacher = SmallPatchDescriptionNetwork(_PDN_CHANNELS)
    if pretrained:
        weights.load_into(teacher, weights.load_tensors(weights.fetch(reference)), reference.partition("#")[0])
    student = SmallPatchDescriptionNetwork(2 * _PDN_CHANNELS)
    return EfficientAd(teacher, student, PaperAutoencoder(_PDN_CHANNELS), _PDN_CHANNELS, _PDN_BORDER)


def _quantiles(values: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Quantiles of a tensor; of evenly spaced values of it, where torch takes no more."""
    flat = values.detach().flatten()
    step = -(-len(flat) // _MOST_QUANTILE_VALUES)
    found: Tensor = torch.quantile(flat[::step], torch.tensor(shares, device=flat.device))
    return found


def _rectified(convolution: nn.Conv2d) -> tuple[nn.Module, nn.Module]:
    return convolution, nn.ReLU()
