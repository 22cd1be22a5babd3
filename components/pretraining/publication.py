"""Publishes a base model: its files by digest, and its entry in a weights manifest of the object store."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.artifacts import WEIGHTS
from components.errors import check
from components.generator.config import BASE, UNTRAINED
from components.pretraining.config import Config
from components.storage.s3 import publish_directory
from components.weights.fetch import packaged
from components.weights.manifest import FILE, WeightsEntry, add_entry, check_name, exists, load_manifest


def check_publication(name: str, config: Config) -> None:
    """Check, before hours of training, that a base model can be published as configured.

    `InputError`: the name cannot be used, the manifest is damaged, or the bucket is missing or refuses the credentials.
    `OSError`: the object store cannot be reached.
    """
    if config.licence:
        check_base_name(name)
    if config.publish and exists(manifest_of(config)):
        load_manifest(manifest_of(config))


def check_base_name(name: str) -> None:
    """Raise `InputError` unless `vqgan.weights` can name a base model so."""
    check_name(name)
    free = name not in (BASE, UNTRAINED) and name not in packaged()
    check(free, "name", name, f"another one than {BASE}, {UNTRAINED} and the names of VIGIL's own weights manifest")


def manifest_of(config: Config) -> str:
    """Address of the manifest that a config publishes to."""
    return f"{config.publish.rstrip('/')}/{FILE}"


def publish_base(generator: Path, name: str, config: Config, figures: Mapping[str, Any]) -> dict[str, str]:
    """Upload a base model and add it to the manifest, which names it only when its files are there.

    The files have a place of their own for each digest, so that the entries of earlier manifests stay right. Returns
    the manifest's address, as `manifest`; nothing where the config publishes nowhere. Errors: see `check_publication`.
    """
    if not config.publish:
        return {}
    place = f"{config.publish.rstrip('/')}/{name}/{figures['sha256']}"
    publish_directory(generator, place)
    add_entry(manifest_of(config), base_entry(name, f"{place}/{WEIGHTS}", config, figures))
    return {"manifest": manifest_of(config)}


def base_entry(name: str, uri: str, config: Config, figures: Mapping[str, Any]) -> WeightsEntry:
    """Entry of a base model, with its figures."""
    shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    shown |= {"architecture": config.architecture, "codebook_size": config.codebook_size}
    sha256 = str(shown.pop("sha256"))
    return WeightsEntry(name=name, uri=uri, sha256=sha256, licence=config.licence, figures=shown)
