"""Chooses, out of a folder of unlabelled images, those that are worth labelling as good, and writes what was chosen."""

import csv
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import replacing, write_json
from components.dataset.coverage import SIDE, Choice, choose_shots
from components.decode import decode_image, decode_shrunk
from components.errors import InputError, check
from components.listing.files import readable
from components.listing.layouts import PLAIN, check_good_alone
from components.listing.opened import DataSet, opened
from components.storage.addresses import address, is_s3

if TYPE_CHECKING:
    import numpy as np

    from components.artifacts import UInt8Image

    Pixels = np.memmap[Any, np.dtype[np.uint8]]

SHEET = "contact-sheet.png"
LIST = "shots.txt"
SUMMARY = "shots.json"
TABLE = "pool.csv"
_SHOWN = 250
_ODD_SHOWN = 20
_ADVICE = "; of a line's data set, dataset.choose: coverage takes the shots"

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
    """Files that are no images or could not be read, and why."""

    def to_content(self) -> dict[str, Any]:
        """The summary as JSON."""

        def rows(indices: Sequence[int]) -> list[dict[str, Any]]:
            return [{"file": readable(self.names[at]), "oddness": round(self.choice.oddness[at], 4)} for at in indices]

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
    if not is_s3(address(pool, "pool")):
        apart = not output.resolve().is_relative_to(Path(address(pool, "pool")).resolve())
        check(apart, "output", str(output), f"a folder outside of {pool}, whose images are chosen from")
    if output.is_dir() and any(output.iterdir()):
        check((output / SUMMARY).is_file(), "output", str(output), "an empty folder, or one of an earlier choice")


def choose_of_folder(pool: str, shots: int, seed: int, output: Path, on_step: OnStep) -> ChosenShots:
    """Choose images of a folder, local or s3://, and of the folders in it, and write the sheet, the list and the table.

    Files that are no images or cannot be read are left out, and listed. For each image, 200 kB of temporary files are
    written.

    Raises:
        InputError: the folder is missing, is a data set with test images or masks, or has fewer images than are wanted;
            or the output folder holds other files.
    """
    check_output(output, pool)
    with opened(pool, PLAIN, "pool") as dataset, tempfile.TemporaryDirectory() as scratch:
        check_good_alone(dataset.listing, dataset.uri, "pool", _ADVICE)
        names = [source.name for source in dataset.listing.sources]
        pixels, readable_names, damaged = _decode(dataset, names, Path(scratch) / "pixels", on_step)

        def read(index: int) -> "UInt8Image":
            found: UInt8Image = pixels[index]
            return found

        def on_image(number: int, total: int) -> None:
            on_step("comparing", number, total)

        choice = choose_shots(read, len(readable_names), shots, seed, on_image)
        left_out = [(found.path, found.reason) for found in dataset.listing.left_out]
        found = ChosenShots(pool=dataset.uri, names=readable_names, choice=choice, left_out=[*damaged, *left_out])
        output.mkdir(parents=True, exist_ok=True)
        _write_sheet(output / SHEET, found, dataset)
        _write_lists(output, found)
    return found


def _decode(
    dataset: DataSet, names: Sequence[str], file: Path, on_step: OnStep
) -> "tuple[Pixels, list[str], list[tuple[str, str]]]":
    """Images [n, SIDE, SIDE, 3] in a temporary file, the names of those that can be read, and of the others, why."""
    import numpy as np

    pixels: Pixels = np.memmap(file, np.uint8, "w+", shape=(len(names), SIDE, SIDE, 3))
    found, damaged = list[str](), list[tuple[str, str]]()
    for number, name in enumerate(names, 1):
        try:
            pixels[len(found)] = decode_image(dataset.path(name), SIDE, readable(name))[0]
            found.append(name)
        except InputError as error:
            damaged.append((readable(name), str(error)))
        on_step("reading", number, len(names))
    if not found:
        raise InputError(f"pool: none of {len(names)} images can be read; {damaged[0][1]}")
    return pixels, found, damaged


def _write_sheet(path: Path, found: ChosenShots, dataset: DataSet) -> None:
    from components.pages.sheets import Group, draw_sheet

    def group(heading: str, indices: Sequence[int], numbered: bool) -> Group:
        heads = [str(rank) if numbered else f"{found.choice.oddness[at]:.2f}" for rank, at in enumerate(indices, 1)]
        captions = [f"{head}  {readable(found.names[at])}" for head, at in zip(heads, indices, strict=True)]
        images = [
            decode_shrunk(dataset.path(name), _SHOWN, dataset.shown(name))
            for name in (found.names[at] for at in indices)
        ]
        return Group(heading=heading, images=images, captions=captions)

    odd = found.choice.look_at[:_ODD_SHOWN]
    chosen = f"Chosen, {len(found.choice.shots)} of {len(found.names)}: label these as good if they are"
    look = f"Look at these, the oddest {len(odd)}: are they good? (1.00 is the pool's median)"
    sheet = draw_sheet([group(chosen, found.choice.shots, True), group(look, odd, False)])
    with replacing(path) as partial:
        sheet.save(partial, "PNG")


def _write_lists(output: Path, found: ChosenShots) -> None:
    """Write the list, the table, and last the summary, by which the folder is known as one of a choice."""
    choice = found.choice
    with replacing(output / LIST) as partial:
        lines = [f"{found.pool}/{found.names[at]}\n" for at in choice.shots]
        partial.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
    ranks = {at: rank for rank, at in enumerate(choice.shots, 1)}
    with (
        replacing(output / TABLE) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["file", "rank", "oddness", "look_at"])
        for at, name in enumerate(found.names):
            look_at = "yes" if at in choice.look_at else ""
            writer.writerow([name, ranks.get(at, ""), f"{choice.oddness[at]:.4f}", look_at])
    write_json(output / SUMMARY, found.to_content())
