"""Installs WordNet's files where NLTK finds them, without root.

NLTK's own downloader is asked first; where it cannot reach its server, Debian's packages are unpacked.
"""

import io
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from components.artifacts import new_directory

_DEBIAN_PACKAGES = ("wordnet-base", "wordnet-sense-index")
_NLTK_TIMEOUT_SECONDS = 20
_SYNTACTIC_CATEGORY = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
# Lexicographer files in WordNet's fixed order (manual page lexnames(5WN)); Debian ships only the manual page.
_LEXNAMES = (
    "adj.all",
    "adj.pert",
    "adv.all",
    "noun.Tops",
    "noun.act",
    "noun.animal",
    "noun.artifact",
    "noun.attribute",
    "noun.body",
    "noun.cognition",
    "noun.communication",
    "noun.event",
    "noun.feeling",
    "noun.food",
    "noun.group",
    "noun.location",
    "noun.motive",
    "noun.object",
    "noun.person",
    "noun.phenomenon",
    "noun.plant",
    "noun.possession",
    "noun.process",
    "noun.quantity",
    "noun.relation",
    "noun.shape",
    "noun.state",
    "noun.substance",
    "noun.time",
    "verb.body",
    "verb.change",
    "verb.cognition",
    "verb.communication",
    "verb.competition",
    "verb.consumption",
    "verb.contact",
    "verb.creation",
    "verb.emotion",
    "verb.motion",
    "verb.perception",
    "verb.possession",
    "verb.social",
    "verb.stative",
    "verb.weather",
    "adj.ppl",
)


def install_wordnet(root: Path) -> str:
    """Install WordNet below an NLTK data folder.

    Args:
        root: folder in NLTK's search path; the files go to `root/corpora`.

    Returns:
        Where the files came from.

    Raises:
        OSError: neither source can be reached.
    """
    if (root / "corpora" / "wordnet.zip").is_file() or (root / "corpora" / "wordnet" / "data.noun").is_file():
        return "already installed"
    root.mkdir(parents=True, exist_ok=True)
    if _download_by_nltk(root):
        return "NLTK's downloader"
    _unpack_debian(root / "corpora" / "wordnet")
    return "Debian's packages"


def _download_by_nltk(root: Path) -> bool:
    from nltk.downloader import Downloader

    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NLTK_TIMEOUT_SECONDS)
    try:
        return bool(Downloader().download("wordnet", str(root), quiet=True, print_error_to=io.StringIO()))
    except (OSError, ValueError):
        return False
    finally:
        socket.setdefaulttimeout(previous)


def _unpack_debian(target: Path) -> None:
    if shutil.which("apt-get") is None:
        raise OSError("WordNet: NLTK's server is out of reach, and this machine has no apt-get")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, new_directory(target) as directory:
        packages = _fetch_packages(Path(scratch))
        for package in packages:
            subprocess.run(["dpkg-deb", "-x", str(package), scratch], check=True)
        for file in (Path(scratch) / "usr" / "share" / "wordnet").iterdir():
            shutil.copyfile(file, directory / file.name)
        (directory / "lexnames").write_text(_lexnames_file(), encoding="ascii")
        _close_to_others(directory)


def _fetch_packages(scratch: Path) -> list[Path]:
    """Download with apt's state in a folder of our own, which needs no root."""
    (scratch / "state" / "lists" / "partial").mkdir(parents=True)
    (scratch / "cache" / "archives" / "partial").mkdir(parents=True)
    options = [f"Dir::State={scratch}/state", f"Dir::Cache={scratch}/cache", "Debug::NoLocking=1"]
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=", *(part for option in options for part in ("-o", option))]
    for action in (["update"], ["download", *_DEBIAN_PACKAGES]):
        result = subprocess.run([*command, *action], cwd=scratch, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise OSError(f"WordNet: apt-get {action[0]} failed: {result.stderr.strip().splitlines()[-1:]}")
    return sorted(scratch.glob("*.deb"))


def _lexnames_file() -> str:
    rows = (f"{index:02d}\t{name}\t{_SYNTACTIC_CATEGORY[name.split('.')[0]]}" for index, name in enumerate(_LEXNAMES))
    return "\n".join(rows) + "\n"


def _close_to_others(directory: Path) -> None:
    """NLTK refuses corpora that group or others may write."""
    directory.chmod(0o755)
    for file in directory.iterdir():
        file.chmod(0o644)
