"""`python -m components.serving --model-dir DIR --model-name LINE`: serve a detector; what KServe's runtime starts.

Written for an image without the command line's libraries.
"""

import argparse
import sys
from pathlib import Path

import uvicorn

from components.errors import InputError
from components.serving.protocol import ServedModel
from components.serving.server import MAX_BYTES, application


def main() -> None:
    """Load the model, and serve it until the process is asked to end."""
    parser = argparse.ArgumentParser(prog="components.serving", description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True, help="folder of a registered detector's artifact")
    parser.add_argument("--model-name", required=True, help="name of the line, by which clients ask for it")
    parser.add_argument("--model-version", default="", help="its version; none without")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 (a container's)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--threads", type=int, default=1, help="of the runtime, for one request")
    parser.add_argument("--max-bytes", type=int, default=MAX_BYTES, help="largest body of a request")
    given = parser.parse_args()
    try:
        model = ServedModel.load(given.model_dir, given.model_name, given.model_version, threads=given.threads)
    except InputError as error:
        sys.exit(f"error: {error}")
    uvicorn.run(
        application(model, given.max_bytes), host=given.host, port=given.port, access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main()
