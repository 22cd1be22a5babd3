"""KFP components of the ingestion stage."""

from kfp import dsl
from kfp.dsl import Dataset, Metrics, Output

from components.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def fingerprint(line: str, uri: str) -> str:
    """Digest of the data set, never cached, so that a changed data set is ingested again.

    Args:
        line: name of the production line.
        uri: class folder, a local path or s3://BUCKET/PREFIX.
    """
    from components.ingestion.ingest import dataset_digest
    from components.stage import stage

    with stage("fingerprint", line) as run:
        digest = dataset_digest(uri)
        run.tracker.log_dataset(uri, line, digest)
        run.tracker.log_tags({"dataset_digest": digest})
    return digest


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def ingest(
    line: str,
    dataset_digest: str,
    uri: str,
    reference: Output[Dataset],
    metrics: Output[Metrics],
    layout: str = "mvtec",
    shots: int = 1,
    image_size: int = 256,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> None:
    """Draw the shots and write the reference image set.

    Args:
        line: name of the production line.
        dataset_digest: digest of the data set; a part of the cache key.
        uri: class folder, a local path or s3://BUCKET/PREFIX.
        reference: image set.
        metrics: counts.
        layout: mvtec, btad, loco or folder.
        shots: number of good training images; 0 takes all.
        image_size: side in pixels.
        test_fraction: held-out share of good images in the layout folder.
        seed: draws the shots.
    """
    from components.ingestion.config import Config
    from components.ingestion.ingest import ingest_dataset
    from components.stage import stage

    with stage("ingestion", line) as run:
        config = run.configure(
            Config(uri=uri, layout=layout, shots=shots, image_size=image_size, test_fraction=test_fraction, seed=seed)
        )
        run.finish(
            reference.path, {"dataset_digest": dataset_digest, **ingest_dataset(reference.path, config)}, metrics
        )
