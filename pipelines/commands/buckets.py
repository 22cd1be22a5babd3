"""`vigil buckets`: the buckets of a new object store."""

from typing import Annotated

import typer

from pipelines.terminal import console

app = typer.Typer(help="Buckets of the object store.", no_args_is_help=True)

Buckets = Annotated[list[str], typer.Argument(metavar="s3://BUCKET...", help="The buckets.")]


@app.callback()
def buckets() -> None:
    """Buckets of the object store."""


@app.command()
def create(uris: Buckets) -> None:
    """Create the buckets that are missing; those that are there stay as they are."""
    from components.storage.s3 import bucket_of, create_bucket

    for bucket in [bucket_of(uri) for uri in uris]:
        state = "created" if create_bucket(bucket) else "exists"
        console.print(f"s3://{bucket}: {state}", soft_wrap=True)
