"""On-disk format of every artifact: the only module with file names.

An artifact is a directory with a constant number of objects, none of them pickled. It appears under
its final name only when it is complete: writers fill a directory beside it that is renamed at the end.
"""

import hashlib
import io
import json
import math
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, overload

from components.errors import InputError, check

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import torch

    UInt8Image = npt.NDArray[np.uint8]
    BoolMask = npt.NDArray[np.bool_]

MANIFEST = "manifest.parquet"
IMAGES = "images.tar"
REGIONS = "regions.parquet"
LEFT_OUT = "left_out.parquet"
CHOICE = "choice.json"
PREPROCESSING = "preprocessing.json"
PROMPTS = "prompts.parquet"
SUMMARY = "summary.json"
UNSENT = "unsent.jsonl"
SENSES = "senses.parquet"
REFERENCE_PROMPTS = "reference_prompts.parquet"
ITERATIONS = "iterations.parquet"
STEPS = "steps.parquet"
TREND = "trend.parquet"
PREDICTIONS = "predictions.parquet"
ANOMALY_MAPS = "anomaly_maps.safetensors"
RECALL = "recall.parquet"
PROXY = "proxy.parquet"
CHOICE = "choice.json"
RECORDS = "metrics.json"
EVALUATION = "evaluation.json"
DECISION = "decision.json"
DECISION_PAGE = "decision.md"
NOMINATION = "nomination.json"
VALIDATION = "validation.parquet"
VALIDATION_MAPS = "validation_maps.safetensors"
WEIGHTS = "model.safetensors"
GOOD_IMAGES = "good_images.safetensors"
DRIFT = "drift.json"
QUALITY = "quality.json"
ONNX_MODEL = "model.onnx"
OPENVINO_MODEL = "model.xml"
CONFIG = "config.json"
_HALF_BYTES = 2
_CANDIDATE_SOURCES = "sources.json"

PROMPT_KINDS = ("best", "worst", "word", "naive")
"""Prompts that the paper compares (section 5, Table 2 and Fig. 8): the `best` and the `worst` of the ranking, the
object's name alone, and "a photo of a {object}"."""


@contextmanager
def new_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends without an exception.

    An earlier `path` is replaced; after an exception nothing of the new content remains.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if target.is_dir():
        shutil.rmtree(target)
    partial.rename(target)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path in the same folder for a file that becomes `path` when the block ends without an exception.

    An earlier `path` is replaced in one step; after an exception or an interruption it is as before.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: object) -> None:
    """Write JSON with sorted keys, complete or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file of an artifact."""
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class Region:
    """One of the regions that mark the defects of an image, named in the data set's words."""

    name: str
    mask: "BoolMask"
    """[height, width]; regions may overlap."""
    saturation: float
    """Share of the region's area, above 0 and at most 1, that is enough to have found it."""


class ImageSetWriter:
    """Streams images into an image set directory: PNG members of one tar, a manifest, and a table of regions if any."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tar = tarfile.open(directory / IMAGES, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (closed by close)
        self._rows: list[dict[str, Any]] = []
        self._regions: list[dict[str, Any]] = []
        self._left_out: list[Mapping[str, str]] = []

    def add(
        self,
        image: "UInt8Image",
        *,
        id: str,
        split: str = "train",
        label: str = "good",
        defect: str = "",
        source: str,
        sha256: str = "",
        mask: "BoolMask | None" = None,
        regions: Sequence[Region] = (),
        tile: int | None = None,
    ) -> None:
        """Append an image, RGB [height, width, 3], its mask [height, width] and its row of the manifest.

        The id is unique in the set, the split is `train`, `calibration`, `validation` or `test`, the label `good` or
        `bad`. The source is the path below the data set, or how the image was generated, and sha256 the digest of the
        source file's bytes, by default that of the PNG. An image made from one tile of its source has the tile's
        number; either all images of a set have one or none.
        """
        png, (height, width, _) = encode_png(image), image.shape
        digest = sha256 or hashlib.sha256(png).hexdigest()
        names = {"id": id, "split": split, "label": label, "defect": defect, "source": source}
        numbered = {} if tile is None else {"tile": tile}
        self._rows.append({**names, "sha256": digest, "width": width, "height": height, **numbered})
        _add_member(self._tar, f"{id}.image.png", png)
        if mask is not None:
            _add_member(self._tar, f"{id}.mask.png", _encode_mask(mask))
        for index, region in enumerate(regions):
            _add_member(self._tar, _region_member(id, index), _encode_mask(region.mask))
            self._regions.append({"id": id, "region": index, "name": region.name, "saturation": region.saturation})

    def leave_out(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Record files of the data set that are not read: path, kind and reason."""
        self._left_out += rows

    def close(self) -> None:
        """Finish the tar and write the tables."""
        self._tar.close()
        write_table(self._directory / MANIFEST, self._rows)
        if self._regions:
            write_table(self._directory / REGIONS, self._regions)
        if self._left_out:
            write_table(self._directory / LEFT_OUT, self._left_out)


@contextmanager
def new_image_set(path: str | os.PathLike[str]) -> Iterator[tuple[ImageSetWriter, Path]]:
    """Yield a writer and the directory it fills; the set appears as `path` when complete."""
    with new_directory(path) as directory:
        writer = ImageSetWriter(directory)
        yield writer, directory
        writer.close()


class ImageSet:
    """Reader of an image set directory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest: pd.DataFrame = read_table(self.path / MANIFEST)

    @cached_property
    def _tar(self) -> tarfile.TarFile:
        return tarfile.open(self.path / IMAGES, "r:")

    @cached_property
    def _members(self) -> dict[str, tarfile.TarInfo]:
        return {member.name: member for member in self._tar.getmembers()}

    @cached_property
    def _region_rows(self) -> "pd.DataFrame":
        import pandas as pd

        table = self.path / REGIONS
        return read_table(table) if table.is_file() else pd.DataFrame(columns=["id", "region", "name", "saturation"])

    @cached_property
    def left_out(self) -> "pd.DataFrame":
        """Files of the data set that were not read, in the order of their paths: path, kind and reason."""
        import pandas as pd

        table = self.path / LEFT_OUT
        return read_table(table) if table.is_file() else pd.DataFrame(columns=["path", "kind", "reason"])

    def ids(self, split: str, label: str | None = None) -> list[str]:
        """Ids of a split in manifest order, of one label (`good`, `bad`) or of all."""
        rows = self.manifest[self.manifest["split"] == split]
        if label is not None:
            rows = rows[rows["label"] == label]
        return [str(id) for id in rows["id"]]

    def image(self, id: str) -> "UInt8Image":
        """RGB image [height, width, 3], uint8."""
        return decode_png(self._read(f"{id}.image.png"), "RGB")

    def mask(self, id: str) -> "BoolMask | None":
        """Defect mask [height, width], or None where the image has none."""
        return self._mask(f"{id}.mask.png") if f"{id}.mask.png" in self._members else None

    def regions(self, id: str) -> list[Region]:
        """Regions of an image's mask; none where the data set does not mark them apart."""
        regions = []
        for row in self._region_rows[self._region_rows["id"] == id].to_dict("records"):
            mask = self._mask(_region_member(id, row["region"]))
            regions.append(Region(name=str(row["name"]), mask=mask, saturation=float(row["saturation"])))
        return regions

    def _mask(self, name: str) -> "BoolMask":
        return decode_png(self._read(name), "L") > 127

    def tensor(self, ids: Sequence[str]) -> "torch.Tensor":
        """Images [len(ids), 3, height, width] as float32 in [0, 1]."""
        return to_tensor([self.image(id) for id in ids])

    def batches(self, ids: Sequence[str], size: int = 32) -> "Iterator[torch.Tensor]":
        """The same, a number of images at a time."""
        return (self.tensor(ids[start : start + size]) for start in range(0, len(ids), size))

    @property
    def digest(self) -> str:
        """Digest of what the set holds, pixels and masks too, independent of the order of its rows."""
        columns = ["id", "split", "label", "defect", "sha256"]
        rows = ["\t".join(map(str, row)) for row in self.manifest[columns].itertuples(index=False)]
        rows += [f"{name}\t{hashlib.sha256(self._read(name)).hexdigest()}" for name in self._members]
        rows += ["\t".join(map(str, row)) for row in self._region_rows.itertuples(index=False)]
        return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()

    def _read(self, name: str) -> bytes:
        member = self._tar.extractfile(self._members[name])
        assert member is not None, name
        return member.read()


def _region_member(id: str, index: int) -> str:
    return f"{id}.region-{index:03d}.png"


def candidate_file(iteration: int) -> str:
    """Name of an iteration's set in the `candidates` artifact."""
    return f"iteration-{iteration:03d}.tar"


def write_candidates(
    directory: Path, iteration: int, images: "Iterable[torch.Tensor]", sources: Sequence[str] = ()
) -> None:
    """Write the set of iteration l, counted from 0: M images [3, height, width] in [0, 1], one after the other.

    `sources` are the ids of the given images that they were sampled around, where they are known.
    """
    path = directory / candidate_file(iteration)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for index, image in enumerate(images):
            _add_member(tar, f"{index:03d}.image.png", encode_png(to_arrays(image.unsqueeze(0))[0]))
        if sources:
            _add_member(tar, _CANDIDATE_SOURCES, json.dumps([*sources]).encode())


class CandidateImages(Sequence["UInt8Image"]):
    """The M images of one iteration, each [height, width, 3], read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "r:")  # noqa: SIM115 (open as long as images may be asked for)
        self._members = [member for member in self._tar.getmembers() if member.name != _CANDIDATE_SOURCES]

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, index: int) -> "UInt8Image": ...

    @overload
    def __getitem__(self, index: slice) -> "list[UInt8Image]": ...

    def __getitem__(self, index: int | slice) -> "UInt8Image | list[UInt8Image]":
        if isinstance(index, slice):
            return [self._read(member) for member in self._members[index]]
        return self._read(self._members[index])

    def _read(self, member: tarfile.TarInfo) -> "UInt8Image":
        file = self._tar.extractfile(member)
        assert file is not None, member.name
        return decode_png(file.read(), "RGB")


def read_candidates(path: str | os.PathLike[str], iteration: int) -> CandidateImages:
    """The images of one iteration."""
    return CandidateImages(Path(path) / candidate_file(iteration))


def candidate_sources(path: str | os.PathLike[str], iteration: int) -> list[str]:
    """Ids of the given images that the M images of one iteration were sampled around; none where they are unknown."""
    with tarfile.open(Path(path) / candidate_file(iteration), "r:") as tar:
        known = _CANDIDATE_SOURCES in tar.getnames()
        file = tar.extractfile(_CANDIDATE_SOURCES) if known else None
        return [] if file is None else [str(source) for source in json.loads(file.read())]


def candidate_iterations(path: str | os.PathLike[str]) -> list[int]:
    """Iterations whose sets the artifact holds, ascending."""
    return sorted(int(file.stem.removeprefix("iteration-")) for file in Path(path).glob("iteration-*.tar"))


def prompt_text(path: str | os.PathLike[str], kind: str, object: str) -> str:
    """The prompt of one of `PROMPT_KINDS` in the `prompts` artifact; `object` is W^o, the name of the part."""
    check(kind in PROMPT_KINDS, "prompt", kind, f"one of {', '.join(PROMPT_KINDS)}")
    return reference_prompts(read_table(Path(path) / PROMPTS), object)[kind]


def reference_prompts(ranking: "pd.DataFrame", object: str) -> dict[str, str]:
    """The prompts that the paper compares, by their kind; `object` is W^o, the name of the inspected part.

    The ranking has the columns prompt, cosine and rank; `worst` has the lowest cosine of all, dropped ones too.
    """
    best, worst = (str(ranking["prompt"].iloc[int(ranking[column].argmin())]) for column in ("rank", "cosine"))
    article = "an" if object.lower().startswith(tuple("aeiou")) else "a"
    return {"best": best, "worst": worst, "word": object, "naive": f"a photo of {article} {object}"}


@contextmanager
def half_tensors(path: Path, shapes: Mapping[str, Sequence[int]]) -> "Iterator[Callable[[torch.Tensor], None]]":
    """Write tensors of known shapes in half precision, in safetensors' format, without holding one of them.

    What is yielded takes the next rows, of the tensors in their order.
    """
    offsets = [0, *accumulate(_HALF_BYTES * math.prod(shape) for shape in shapes.values())]
    places = zip(shapes.items(), pairwise(offsets), strict=True)
    header = {name: {"dtype": "F16", "shape": [*shape], "data_offsets": [*place]} for (name, shape), place in places}
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        yield lambda rows: _write_half(file, rows)
        expected, written = 8 + len(content) + offsets[-1], file.tell()
    if written != expected:
        raise RuntimeError(f"{path.name}: got {written} bytes, expected {expected}")


def _write_half(file: BinaryIO, rows: "torch.Tensor") -> None:
    file.write(rows.half().contiguous().numpy().tobytes())


def write_table(path: Path, rows: "Sequence[Mapping[str, Any]] | pd.DataFrame") -> None:
    """Write rows as parquet."""
    import pandas as pd

    pd.DataFrame(rows).to_parquet(path, index=False)


def read_table(path: Path) -> "pd.DataFrame":
    """Read a parquet table of an artifact."""
    import pandas as pd

    return pd.read_parquet(path)


def _add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append bytes to a tar with fixed metadata, so that equal content gives an equal file."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def encode_png(array: "UInt8Image") -> bytes:
    """PNG bytes of an RGB [height, width, 3] or grey [height, width] uint8 array."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _encode_mask(mask: "BoolMask") -> bytes:
    return encode_png(mask.astype("uint8") * 255)


def decode_png(content: bytes, mode: str) -> "UInt8Image":
    """Array of a PNG in a Pillow mode: `RGB` gives [height, width, 3], `L` [height, width]."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        return np.asarray(image.convert(mode))


def to_tensor(arrays: "Iterable[UInt8Image]") -> "torch.Tensor":
    """Stack RGB uint8 arrays [height, width, 3] to float32 [n, 3, height, width] in [0, 1]."""
    import numpy as np
    import torch

    stacked = np.stack(list(arrays))
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div_(255)


def to_arrays(images: "torch.Tensor") -> "list[UInt8Image]":
    """RGB uint8 arrays [height, width, 3] of images [n, 3, height, width] in [0, 1]; values must be finite."""
    if not bool(images.isfinite().all()):
        raise RuntimeError("images: got values that are not finite, expected 0 to 1")
    scaled = images.detach().clamp(0, 1).mul(255).round().byte()
    return list(scaled.permute(0, 2, 3, 1).cpu().numpy())


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_directory(path: Path, what: str) -> None:
    """Raise `InputError` unless `path` is a directory."""
    if not path.is_dir():
        raise InputError(f"{what}: {path} is not a folder")
