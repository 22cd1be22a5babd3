"""Moves images onto another by phase correlation, so that their latents can be compared position by position.

Source: Kuglin and Hines, "The phase correlation image alignment method", 1975.
"""

import torch
from torch import Tensor
from torch.nn import functional


def aligned(images: Tensor, target: Tensor) -> Tensor:
    """Images [n, 3, height, width] moved by whole pixels to where they fit a target [1, 3, height, width] best.

    At most an eighth of the side; what comes in at the border mirrors it. Rotation and scale stay as they are.
    """
    sides = target.shape[-2:]
    limits = [side // 8 for side in sides]
    window = torch.outer(*(torch.hann_window(side, periodic=False) for side in sides))
    spectra, wanted = (torch.fft.fft2((stack - stack.mean()).mean(dim=1) * window) for stack in (images, target))
    cross = wanted * spectra.conj()
    peaks = torch.fft.ifft2(cross / cross.abs().clamp_min(1e-12)).real
    shifts = [torch.fft.fftfreq(side, 1 / side).round().long() for side in sides]
    near = [shift.abs() <= limit for shift, limit in zip(shifts, limits, strict=True)]
    best = peaks.masked_fill(~torch.outer(*near), -torch.inf).flatten(1).argmax(dim=1)
    rows, columns = shifts[0][best // sides[1]].tolist(), shifts[1][best % sides[1]].tolist()
    padded = functional.pad(images, (limits[1], limits[1], limits[0], limits[0]), mode="reflect")
    height, width = sides
    corners = [(limits[0] - row, limits[1] - column) for row, column in zip(rows, columns, strict=True)]
    moved = zip(padded, corners, strict=True)
    return torch.stack([image[:, top : top + height, left : left + width] for image, (top, left) in moved])
