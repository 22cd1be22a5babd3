"""A good image as the canvas of a defect: the part in it, and shapes that are sized to the part."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from components.artifacts import BoolMask, UInt8Image

    Floats = npt.NDArray[np.float32]

_BORDER = 0.04
"""Width of the border whose colours are taken for the ground's, as a share of the side."""
_LEAST_AREA, _MOST_AREA = 0.03, 0.8
"""Share of the image that a part has."""
_MOST_BORDER = 0.3
"""Largest share of the border that a part may cross."""
_GROUNDS = 3
_SMALLEST, _LARGEST = 0.1, 0.5
"""Diameter of a defect, as a share of the part's side: CutPaste's pieces have 2 to 15 % of an image's area."""
_LEAST_PIXELS = 4.0


@dataclass(frozen=True, kw_only=True)
class Part:
    """A good image in [0, 1], and where its part is."""

    image: "Floats"
    """RGB [height, width, 3]."""
    foreground: "BoolMask"
    """[height, width]; the whole image where no ground stands out."""
    generator: np.random.Generator = field(repr=False)
    """Draws the defect."""

    @classmethod
    def of(cls, image: "UInt8Image", foreground: "BoolMask", generator: np.random.Generator) -> "Part":
        """The part of an RGB image [height, width, 3]."""
        return cls(image=(image / 255).astype(np.float32), foreground=foreground, generator=generator)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.foreground.shape

    def diameter(self, scale: float = 1.0) -> float:
        """Pixels across a defect, drawn evenly on a logarithmic scale."""
        share = np.exp(self.generator.uniform(np.log(_SMALLEST), np.log(_LARGEST)))
        return max(_LEAST_PIXELS, float(scale * share * np.sqrt(self.foreground.sum())))

    def point(self) -> "npt.NDArray[np.float64]":
        """Row and column of a pixel of the part."""
        rows, columns = np.nonzero(self.foreground)
        index = int(self.generator.integers(len(rows)))
        return np.array([rows[index], columns[index]], dtype=np.float64)

    def offsets(self, centre: "npt.NDArray[np.float64]", degrees: float = 0.0) -> "npt.NDArray[np.float64]":
        """Position [2, height, width] of each pixel relative to a centre, along axes that are turned by an angle."""
        rows, columns = np.indices(self.shape) - centre[:, None, None]
        sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
        return np.stack([cosine * rows + sine * columns, cosine * columns - sine * rows])

    def blob(self, diameter: float, centre: "npt.NDArray[np.float64] | None" = None) -> "BoolMask":
        """A round region with an uneven outline, on the part unless a centre is given."""
        rows, columns = self.offsets(self.point() if centre is None else centre, float(self.generator.uniform(0, 180)))
        stretch = self.generator.uniform(1, 1.6)
        outline = 1 + 0.35 * perlin_noise(self.shape, max(self.shape) / diameter, self.generator)
        mask: BoolMask = np.hypot(rows * stretch, columns / stretch) < diameter / 2 * outline
        return mask

    def rectangle(
        self, centre: "npt.NDArray[np.float64]", height: float, width: float, degrees: float = 0.0
    ) -> "BoolMask":
        """A rectangle about a centre, turned by an angle."""
        rows, columns = self.offsets(centre, degrees)
        mask: BoolMask = (np.abs(rows) <= height / 2) & (np.abs(columns) <= width / 2)
        return mask

    def moved(
        self, target: "npt.NDArray[np.float64]", source: "npt.NDArray[np.float64]", degrees: float = 0.0
    ) -> "Floats":
        """The image [height, width, 3] moved so that what was at `source` is at `target`, and turned about it."""
        from scipy.ndimage import map_coordinates

        positions = self.offsets(target, degrees) + source[:, None, None]
        channels = [map_coordinates(self.image[..., index], positions, order=1, mode="mirror") for index in range(3)]
        return np.stack(channels, axis=-1)

    def filled(self, hole: "BoolMask") -> "Floats":
        """The image with a hole that shows what is around it: the ground, or the hole's surroundings where it has none.

        Each pixel takes the colour of the nearest one outside, smoothed within the hole.
        """
        from scipy.ndimage import distance_transform_edt, gaussian_filter

        around = ~(hole | self.foreground)
        around = around if around.any() else ~hole
        nearest = distance_transform_edt(~around, return_distances=False, return_indices=True)
        filled = self.image[nearest[0], nearest[1]]
        smooth = gaussian_filter(filled, (1.5, 1.5, 0))
        return np.where(hole[..., None], smooth, self.image)


def perlin_noise(shape: tuple[int, int], cells: float, generator: np.random.Generator) -> "Floats":
    """Gradient noise [height, width] about zero, mostly in [-1, 1], with `cells` cells along the longer side.

    Perlin, An image synthesizer, 1985; DRAEM (Zavrtanik et al., 2021) cuts its masks out of it.
    """
    rows, columns = np.indices(shape) * (max(cells, 1.0) / max(shape)) + generator.uniform(0, 1, size=2)[:, None, None]
    cell_row, cell_column = np.floor(rows).astype(int), np.floor(columns).astype(int)
    angles = generator.uniform(0, 2 * np.pi, size=(cell_row.max() + 2, cell_column.max() + 2))
    row, column = rows - cell_row, columns - cell_column

    def corner(down: int, right: int) -> "npt.NDArray[np.float64]":
        angle = angles[cell_row + down, cell_column + right]
        return np.cos(angle) * (row - down) + np.sin(angle) * (column - right)  # type: ignore[no-any-return]

    fade_row, fade_column = (6 * t**5 - 15 * t**4 + 10 * t**3 for t in (row, column))
    upper = corner(0, 0) * (1 - fade_column) + corner(0, 1) * fade_column
    lower = corner(1, 0) * (1 - fade_column) + corner(1, 1) * fade_column
    noise: Floats = (np.sqrt(2) * (upper * (1 - fade_row) + lower * fade_row)).astype(np.float32)
    return noise


def find_foreground(image: "UInt8Image") -> "BoolMask":
    """Where the part of an RGB image is, [height, width]; everywhere where no ground of even colour surrounds it.

    Pixels belong to the part whose colour (CIELAB) is far from the few colours of the border, by Otsu's threshold;
    small pieces are left out and holes are filled. What covers nearly nothing or nearly all of the image, or much of
    its border, is no part on a ground.
    """
    from scipy.cluster.vq import kmeans2
    from scipy.ndimage import binary_fill_holes, gaussian_filter
    from skimage.color import rgb2lab
    from skimage.filters import threshold_otsu
    from skimage.morphology import closing, disk, opening, remove_small_objects

    everywhere = np.ones(image.shape[:2], dtype=bool)
    side = min(image.shape[:2])
    lab = gaussian_filter(rgb2lab(image), (side / 128, side / 128, 0))
    border = np.ones(image.shape[:2], dtype=bool)
    width = max(1, round(_BORDER * side))
    border[width:-width, width:-width] = False
    grounds, _ = kmeans2(lab[border], _GROUNDS, minit="points", rng=np.random.default_rng(0), missing="warn")
    distance = np.linalg.norm(lab[..., None, :] - grounds, axis=-1).min(axis=-1)
    if np.ptp(distance) < 1e-6:
        return everywhere
    radius = disk(max(1, round(side / 100)))
    mask = distance > threshold_otsu(distance)
    mask = binary_fill_holes(closing(opening(mask, radius), radius))
    mask = remove_small_objects(mask, max_size=round(_LEAST_AREA / 4 * mask.size))
    is_part = _LEAST_AREA <= mask.mean() <= _MOST_AREA and mask[border].mean() <= _MOST_BORDER
    return mask if is_part else everywhere
