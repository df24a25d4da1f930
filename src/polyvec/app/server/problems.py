"""Errors as the API answers them: one model, one code for each kind, and never a trace of the inside."""

from __future__ import annotations

import logging
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from polyvec.core.errors import (
    FileProblemError,
    InvalidTypeError,
    InvalidValueError,
    MissingDependencyError,
    NotFoundError,
    PolyvecError,
    StoreError,
)

logger = logging.getLogger("polyvec.server")

Code = Literal[
    "invalid_value", "not_found", "read_only", "too_large", "busy", "timeout", "unauthorized", "unavailable", "internal"
]
LONGEST_MESSAGE = 600


class Problem(BaseModel):
    """What went wrong."""

    code: Code
    message: str


class ProblemReply(BaseModel):
    """The answer to a request that failed."""

    error: Problem


class ApiError(Exception):
    """Ends a request with this status and code."""

    def __init__(self, status: int, code: Code, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers

    def response(self) -> JSONResponse:
        """As an HTTP answer."""
        return problem_response(self.status, self.code, self.message, self.headers)


def problem_response(status: int, code: Code, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a request that failed; the message on one line, not longer than a user reads."""
    line = " ".join(message.encode("utf-8", "replace").decode("utf-8").split())
    if len(line) > LONGEST_MESSAGE:
        line = line[: LONGEST_MESSAGE - 1] + "…"
    return JSONResponse({"error": {"code": code, "message": line}}, status, headers)


def busy(message: str) -> ApiError:
    """The server has too much to do right now."""
    return ApiError(503, "busy", message, {"Retry-After": "1"})


def api_error(error: PolyvecError) -> ApiError:
    """What a caller is told about one of the package's errors."""
    if isinstance(error, NotFoundError):
        return ApiError(404, "not_found", str(error))
    if isinstance(error, (InvalidValueError, InvalidTypeError)):
        return ApiError(422, "invalid_value", str(error))
    if isinstance(error, StoreError):
        message = str(error)
        if "read_only=True" in message:
            return ApiError(403, "read_only", "this index is served read-only")
        if "without an encoder" in message:
            return ApiError(422, "invalid_value", message)
        if "is writing to it" in message or "at the same time" in message:
            return busy(message)
    if isinstance(error, (StoreError, MissingDependencyError, FileProblemError)):
        logger.error("%s", error)
    return ApiError(503, "unavailable", str(error))


def _validation_line(error: RequestValidationError) -> str:
    """The first thing that is wrong with a request, without repeating what was sent."""
    first: dict[str, Any] = dict(error.errors()[0])
    place = ".".join(str(part) for part in first.get("loc", ()) if part not in ("query", "body", "path"))
    more = len(error.errors()) - 1
    return f"{place or 'request'}: {first.get('msg', 'cannot be read')}" + (f" (and {more} more)" if more else "")


_STATUS_CODES: dict[int, Code] = {401: "unauthorized", 404: "not_found", 413: "too_large", 503: "busy"}


def install(app: FastAPI, path: str, name: str) -> None:
    """Let every error of a handler become a `ProblemReply`; messages call the index by its name, not by its `path`."""

    @app.exception_handler(ApiError)
    async def on_api_error(request: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(PolyvecError)
    async def on_polyvec_error(request: Request, error: PolyvecError) -> JSONResponse:
        told = api_error(error)
        told.message = told.message.replace(path, name)
        return told.response()

    @app.exception_handler(RequestValidationError)
    async def on_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(422, "invalid_value", _validation_line(error))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = _STATUS_CODES.get(error.status_code, "invalid_value")
        message = {404: "there is nothing at this address", 405: "this address does not take this method"}.get(
            error.status_code, str(error.detail)
        )
        return problem_response(error.status_code, code, message, dict(error.headers or {}))


_MEANINGS = {
    400: "The request cannot be read, or its Host is not this server's.",
    401: "The token is missing or wrong.",
    403: "Another site's page sent this request, or the index is served read-only.",
    404: "There is no such thing.",
    409: "It is running already.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "An argument cannot be used.",
    503: "Too much to do right now, or a part is missing.",
    504: "It took too long.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of an operation for the OpenAPI schema: those of any, and these."""
    always = {400, 401, 403, 413, 503, 504}
    return {
        status: {"model": ProblemReply, "description": _MEANINGS[status]} for status in sorted(always | set(statuses))
    }
