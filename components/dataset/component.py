"""KFP components of the dataset stage."""

from kfp import dsl
from kfp.dsl import Dataset, Metrics, Output

from components.dataset.config import Config, FolderConfig
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def fingerprint(line: str, uri: str, layout: str, settings: str) -> str:
    """Digest of the data set, never cached, so that a changed data set is ingested again; opens the run in MLflow.

    Ends a run whose object WordNet does not know, before any other stage.

    Args:
        line: name of the production line.
        uri: class folder, a local path or s3://BUCKET/PREFIX.
        layout: how the data set's files are arranged; plain for a folder of images.
        settings: every parameter of the run, as JSON.
    """
    from components.listing.opened import dataset_digest
    from components.stage.run import stage
    from components.wordnet.words import check_settings

    with stage("fingerprint", line) as run:
        check_settings(settings)
        digest = dataset_digest(uri, layout)
        run.describe_run(settings, uri, digest)
        run.tracker.sweep_lost_runs()
    return digest


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(Config)
def dataset(
    line: str,
    dataset_digest: str,
    uri: str,
    reference: Output[Dataset],
    metrics: Output[Metrics],
    layout: str = "mvtec",
    shots: int = 1,
    calibration: int = 0,
    image_size: int = 256,
    test_fraction: float = 0.2,
    seed: int = 0,
    mask_threshold: float = 0.5,
    choose: str = "random",
    bit_depth: int = 0,
    max_megapixels: int = 64,
    crop: str = "",
    keep_aspect: bool = False,
    tiles: str = "1x1",
) -> None:
    """Draw the shots and write the reference image set.

    Args:
        line: name of the production line.
        dataset_digest: digest of the data set; a part of the cache key.
        reference: image set.
        metrics: counts.
    """
    from components.dataset.config import Config
    from components.dataset.ingest import ingest_dataset
    from components.stage.run import stage

    with stage("dataset", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        counts = ingest_dataset(reference.path, config, dataset_digest)
        run.finish(reference.path, {"dataset_digest": dataset_digest, **counts}, metrics)


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(FolderConfig)
def image_folder(
    line: str, dataset_digest: str, uri: str, images: Output[Dataset], metrics: Output[Metrics], image_size: int = 256
) -> None:
    """Write the images of a plain folder as an image set.

    Args:
        line: name of the production line.
        dataset_digest: digest of the folder; a part of the cache key.
        images: image set.
        metrics: number of images.
    """
    from components.dataset.config import FolderConfig
    from components.dataset.ingest import import_images
    from components.stage.run import stage

    with stage("image_folder", line) as run:
        config = run.configure(FolderConfig.from_arguments(locals()))
        counts = import_images(images.path, config, dataset_digest)
        run.finish(images.path, {"dataset_digest": dataset_digest, **counts}, metrics)
