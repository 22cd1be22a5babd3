"""Chooses, out of a folder of unlabelled images, those that are worth labelling as good, and writes what was chosen."""

import csv
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import replacing, write_json
from components.dataset.coverage import SIDE, Choice, choose_shots
from components.decode import IMAGE_SUFFIXES, decode_image, decode_shrunk
from components.errors import InputError, check
from components.storage import s3

if TYPE_CHECKING:
    import numpy as np

    from components.artifacts import UInt8Image

SHEET = "contact-sheet.png"
LIST = "shots.txt"
SUMMARY = "shots.json"
TABLE = "pool.csv"
_SHOWN = 250
_ODD_SHOWN = 20

OnStep = Callable[[str, int, int], None]
"""Called with what is done, the number of the image, counted from 1, and their number."""


@dataclass(frozen=True, kw_only=True)
class ChosenShots:
    """What was chosen out of a folder."""

    pool: str
    names: Sequence[str]
    """Files below the folder that could be read, sorted."""
    choice: Choice
    left_out: Sequence[tuple[str, str]]
    """Files that could not be read, and why."""

    def to_content(self) -> dict[str, Any]:
        """The summary as JSON."""

        def rows(indices: Sequence[int]) -> list[dict[str, Any]]:
            return [{"file": self.names[at], "oddness": round(self.choice.oddness[at], 4)} for at in indices]

        return {
            "pool": self.pool,
            "images": len(self.names),
            "shots": rows(self.choice.shots),
            "look_at": rows(self.choice.look_at),
            "left_out": [{"file": name, "reason": reason} for name, reason in self.left_out],
        }


def check_output(output: Path, pool: str) -> None:
    """Raise `InputError` unless a folder can take the results without harm to anything in it or to the pool."""
    check(not output.exists() or output.is_dir(), "output", str(output), "a folder")
    if not s3.is_s3(pool):
        apart = not output.resolve().is_relative_to(Path(pool).resolve())
        check(apart, "output", str(output), f"a folder outside of {pool}, whose images are chosen from")
    if output.is_dir() and any(output.iterdir()):
        check((output / SUMMARY).is_file(), "output", str(output), "an empty folder, or one of an earlier choice")


def choose_of_folder(pool: str, shots: int, seed: int, output: Path, on_step: OnStep) -> ChosenShots:
    """Choose images of a folder, local or s3://, and of the folders in it, and write the sheet, the list and the table.

    Files that cannot be read are left out, and listed. For each image, 200 kB of temporary files are written.

    Raises:
        InputError: the folder is missing, has fewer images than are wanted, or the output folder holds other files.
    """
    check_output(output, pool)
    with s3.local_folder(pool, "pool") as root, tempfile.TemporaryDirectory() as scratch:
        paths = _images(root, pool)
        pixels, readable, left_out = _decode(paths, Path(scratch) / "pixels", on_step)

        def read(index: int) -> "UInt8Image":
            return pixels[index]

        def on_image(number: int, total: int) -> None:
            on_step("comparing", number, total)

        choice = choose_shots(read, len(readable), shots, seed, on_image)
        names = [path.relative_to(root).as_posix() for path in readable]
        skipped = [(path.relative_to(root).as_posix(), reason) for path, reason in left_out]
        found = ChosenShots(pool=pool, names=names, choice=choice, left_out=skipped)
        output.mkdir(parents=True, exist_ok=True)
        _write_sheet(output / SHEET, found, readable)
        _write_lists(output, found)
    return found


def _images(root: Path, pool: str) -> list[Path]:
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    visible = [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    if not visible:
        raise InputError(f"{pool}: no images, expected {' '.join(sorted(IMAGE_SUFFIXES))}")
    return visible


def _decode(
    paths: Sequence[Path], file: Path, on_step: OnStep
) -> "tuple[np.memmap[Any, np.dtype[np.uint8]], list[Path], list[tuple[Path, str]]]":
    """Images [n, SIDE, SIDE, 3] in a temporary file, the paths of those that can be read, and of the others, why."""
    import numpy as np

    pixels = np.memmap(file, np.uint8, "w+", shape=(len(paths), SIDE, SIDE, 3))
    readable, left_out = list[Path](), list[tuple[Path, str]]()
    for number, path in enumerate(paths, 1):
        try:
            pixels[len(readable)] = decode_image(path, SIDE, path.name)[0]
            readable.append(path)
        except InputError as error:
            left_out.append((path, str(error)))
        on_step("reading", number, len(paths))
    if not readable:
        raise InputError(f"pool: none of {len(paths)} images can be read; {left_out[0][1]}")
    return pixels, readable, left_out


def _write_sheet(path: Path, found: ChosenShots, paths: Sequence[Path]) -> None:
    from components.pages.sheets import Group, draw_sheet

    def group(heading: str, indices: Sequence[int], numbered: bool) -> Group:
        captions = [
            f"{rank}  {found.names[at]}" if numbered else f"{found.choice.oddness[at]:.2f}  {found.names[at]}"
            for rank, at in enumerate(indices, 1)
        ]
        return Group(heading=heading, images=[decode_shrunk(paths[at], _SHOWN) for at in indices], captions=captions)

    odd = found.choice.look_at[:_ODD_SHOWN]
    chosen = f"Chosen, {len(found.choice.shots)} of {len(found.names)}: label these as good if they are"
    look = f"Look at these, the oddest {len(odd)}: are they good? (1.00 is the pool's median)"
    sheet = draw_sheet([group(chosen, found.choice.shots, True), group(look, odd, False)])
    with replacing(path) as partial:
        sheet.save(partial, "PNG")


def _write_lists(output: Path, found: ChosenShots) -> None:
    """Write the list, the table, and last the summary, by which the folder is known as one of a choice."""
    choice, as_bytes = found.choice, {"encoding": "utf-8", "errors": "surrogateescape"}
    with replacing(output / LIST) as partial:
        lines = [f"{found.pool.rstrip('/')}/{found.names[at]}\n" for at in choice.shots]
        partial.write_text("".join(lines), **as_bytes)
    ranks = {at: rank for rank, at in enumerate(choice.shots, 1)}
    with replacing(output / TABLE) as partial, partial.open("w", newline="", **as_bytes) as file:
        writer = csv.writer(file)
        writer.writerow(["file", "rank", "oddness", "look_at"])
        for at, name in enumerate(found.names):
            look_at = "yes" if at in choice.look_at else ""
            writer.writerow([name, ranks.get(at, ""), f"{choice.oddness[at]:.4f}", look_at])
    write_json(output / SUMMARY, found.to_content())
