"""Assembles the photographs that the base model was trained on (`components/generator/BASE_MODEL.md`), without root.

`python -m tests.benchmarks.base_photographs FOLDER` fetches the Debian packages (655 MB) with `apt-get download` and
takes the rest from the installed Python packages; `--unpacked DIR` takes the Debian files from a folder into which the
packages were unpacked, or from `/` where they are installed. It fails unless the folder gets the recorded digest, and
then prints the command that trains on it.
"""

import argparse
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from components.artifacts import new_directory
from components.errors import InputError, check
from components.pretraining.sources import images_digest

DIGEST = "3ba72d1ddda91c8c59c678eef1a88c89891904255601a3c227851ce464584389"
COMMAND = "vigil pretrain {folder} --to base --steps 9400 --autoencoder-steps 4500 --batch-size 4 --size 64 --size 128"
DEBIAN = ("supertuxkart-data", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04")
PHOTOGRAPHS: Mapping[str, tuple[str, ...]] = {
    "usr/share/games/supertuxkart/data": (
        "library/stklib_jungleTree_a/city_tree.jpg",
        "library/stklib_old_house_a/dark-wall-wood.png",
        "library/stklib_old_house_a/stktex_generic_WoodA.png",
        "textures/HortonRockWall.jpg",
        "textures/HortonRockWall2.jpg",
        "textures/Paving_stones_2.jpg",
        "textures/bow_tile.jpg",
        "textures/castelwall.jpg",
        "textures/ribbed_steel.jpg",
        "textures/rock1.jpg",
        "textures/rock_brown.jpg",
        "textures/rockwall.jpg",
        "textures/sky.jpg",
        "textures/woodBridge.jpg",
        "textures/wood_planks1.jpg",
        "tracks/ancient_colosseum_labyrinth/3td_BrickOldRound_01.jpg",
        "tracks/ancient_colosseum_labyrinth/wall.png",
        "tracks/ancient_colosseum_labyrinth/wall1b.jpg",
        "tracks/battleisland/road.jpg",
        "tracks/black_forest/Woodpile.jpg",
        "tracks/black_forest/brick_wall_06.jpg",
        "tracks/black_forest/tree_stumps.jpg",
        "tracks/introcutscene/lanternsupport.jpg",
        "tracks/soccer_field/racetrack_sky.jpg",
        "tracks/stk_enterprise/img_0572.png",
    ),
    "usr/share/backgrounds": (
        "Bridge_by_Sander_Klootwijk.jpg",
        "Dragonfly_by_Bolly.jpg",
        "Kleiber_by_Lukas_Baubkus.jpg",
        "Picture_0B_by_freespace.jpg",
        "Picture_1A_by_freespace.jpg",
        "Wine_by_Jakkub_Mede.jpg",
        "aitzgorri_by_Aitzol_Berasategi.jpg",
        "analogpattern_by_Peter_Nerlich.jpg",
        "free_by_Peter_Nerlich.jpg",
        "friends_by_Aitzol_Berasategi.jpg",
        "greentock_by_Peter_Nerlich.jpg",
        "life_by_Aitzol_Berasategi.jpg",
        "picosdeeuropa_by_Aitzol_Berasategi.jpg",
        "seeding_by_Clements_Engelhardt.jpg",
        "sunset_by_Aitzol_Berasategi.jpg",
    ),
    "skimage/data": (
        "astronaut.png",
        "brick.png",
        "camera.png",
        "chelsea.png",
        "coffee.png",
        "coins.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "moon.png",
        "retina.jpg",
        "rocket.jpg",
    ),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}
"""Files by the folder that a package, Debian's or Python's, has them in."""
_DEBIAN_FOLDERS = "usr/"


def assemble(folder: Path, unpacked: Path) -> None:
    """Copy the photographs into a folder of their own, which appears when its digest is the recorded one.

    Args:
        folder: the folder to write.
        unpacked: folder with the contents of the Debian packages.

    Raises:
        InputError: a file is missing, or the digest is another one: a package has another version.
    """
    with new_directory(folder) as written:
        for origin, names in PHOTOGRAPHS.items():
            root = unpacked / origin if origin.startswith(_DEBIAN_FOLDERS) else _installed(origin)
            for name in names:
                if not (root / name).is_file():
                    raise InputError(f"photographs: no file at {root / name}")
                (written / origin / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / name, written / origin / name)
        digest = images_digest([path for path in written.rglob("*") if path.is_file()])
        check(digest == DIGEST, "photographs: digest", digest, f"{DIGEST}: a package has another version")


def unpack(folder: Path) -> None:
    """Fetch the Debian packages in the versions that apt has, and unpack them into a folder."""
    subprocess.run(["apt-get", "download", *DEBIAN], cwd=folder, check=True)
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, folder], check=True)


def _installed(origin: str) -> Path:
    package, _, inner = origin.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"photographs: the Python package {package} is not installed")
    return Path(spec.submodule_search_locations[0]) / inner


def main() -> None:
    """Assemble the folder, and print the command that trains on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--unpacked", type=Path, metavar="DIR", help="folder with the Debian packages' contents")
    given = parser.parse_args()
    if given.unpacked:
        assemble(given.folder, given.unpacked)
    else:
        with tempfile.TemporaryDirectory() as directory:
            unpack(Path(directory))
            assemble(given.folder, Path(directory))
    print(COMMAND.format(folder=given.folder))


if __name__ == "__main__":
    main()
