"""The HTTP server of one detector, by the Open Inference Protocol (V2)."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from components import __version__
from components.errors import InputError
from components.serving.protocol import ServedModel

logger = logging.getLogger(__name__)

NAME = "vigil"
MAX_BYTES = 64_000_000
"""Largest body of a request."""


def application(model: ServedModel, max_bytes: int = MAX_BYTES) -> Starlette:
    """The server of a model; a request that it does not understand gets a status of 4xx and `{"error": LINE}`."""

    def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    def ready(_: Request) -> Response:
        # The specification's text calls the field "live", its OpenAPI document "ready".
        return JSONResponse({"live": True, "ready": True})

    def server_metadata(_: Request) -> Response:
        return JSONResponse({"name": NAME, "version": __version__, "extensions": []})

    def metadata(request: Request) -> Response:
        _check_model(request, model)
        return JSONResponse(model.metadata())

    def model_ready(request: Request) -> Response:
        _check_model(request, model)
        return JSONResponse({"name": model.name, "ready": True})

    async def infer(request: Request) -> Response:
        _check_model(request, model)
        content = _parsed(await _body(request, max_bytes))
        return JSONResponse(await run_in_threadpool(model.infer, content))

    routes = [
        Route("/v2", server_metadata),
        Route("/v2/", server_metadata),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        *_of_model("", metadata, ["GET"]),
        *_of_model("/ready", model_ready, ["GET"]),
        *_of_model("/infer", infer, ["POST"]),
    ]
    handlers: dict[Any, Any] = {InputError: _bad_input, HTTPException: _http_error, Exception: _defect}
    return Starlette(routes=routes, exception_handlers=handlers)


def _of_model(
    path: str, answer: Callable[[Request], Response] | Callable[[Request], Awaitable[Response]], methods: list[str]
) -> list[Route]:
    """An endpoint of the model, with and without its version."""
    start = "/v2/models/{name}"
    return [Route(f"{start}{version}{path}", answer, methods=methods) for version in ("", "/versions/{version}")]


def _check_model(request: Request, model: ServedModel) -> None:
    name, version = request.path_params["name"], request.path_params.get("version", model.version)
    if (name, version) != (model.name, model.version):
        shown = f"{model.name}, version {model.version}" if model.version else model.name
        raise HTTPException(404, f"model {name} {version}".strip() + f": not served here, expected {shown}")


async def _body(request: Request, max_bytes: int) -> bytes:
    """The body, of which no more than the largest is read, whatever its header says."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"request: larger than {max_bytes} bytes")
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"request: no JSON ({type(error).__name__})") from None


def _bad_input(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


def _defect(request: Request, error: Exception) -> Response:
    logger.error("%s: %s: %s", request.url.path, type(error).__name__, error)
    return JSONResponse({"error": "the server failed, its log says why"}, 500)
