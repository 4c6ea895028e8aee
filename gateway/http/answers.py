"""How the HTTP side answers: JSON responses, errors in one form, and the wrapper of every handler.

Knows Starlette and the table of error codes, not what the handlers do.  No exception leaves a
wrapped handler, and no text of an unexpected exception reaches a caller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..errors import BrokerUnavailableError, CommandError, OutcomeUnknownError
from .results import ErrorAnswer, refused

Handler = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger("gateway.http")
_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class HttpError(CommandError):
    """A CommandError with an HTTP status and headers of its own (415, 405, …)."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code, message)
        self.http_status = status
        self.headers = dict(headers or {})


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `value` (records, dictionaries, `Raw`) as a JSON response that nobody caches."""
    return Response(
        msgspec.json.encode(value),
        status,
        {**_HEADERS, **(headers or {})},
        media_type="application/json",
    )


def error_response(error: CommandError) -> Response:
    """Return an error in the form `{"error":{"code","message"}}`."""
    headers = error.headers if isinstance(error, HttpError) else {}
    if error.http_status == 401:
        headers = {**headers, "www-authenticate": 'Bearer realm="ringgate"'}
    elif error.http_status == 503:
        headers = {**headers, "retry-after": "1"}
    return json_response(ErrorAnswer(refused(error)), error.http_status, headers)


def as_command_error(error: Exception) -> CommandError:
    """Return what to tell the caller about `error`; what nobody expected is logged here."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, BrokerUnavailableError):
        return CommandError("unavailable", "the broker cannot be reached now; nothing happened")
    if isinstance(error, OutcomeUnknownError):
        return CommandError("timeout", "the outcome is unknown; repeat with the same idempotency key")
    _log.error("unexpected error in a request", exc_info=error)
    return CommandError("internal", "an error inside the gateway; its log has the details")


def answering(handler: Handler, count: Callable[[str], None]) -> Handler:
    """Wrap `handler` so that every exception becomes an answer in the one form of errors.

    `count` is called with "ok" or the error's code.
    """

    async def answer(request: Request) -> Response:
        try:
            response = await handler(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except asyncio.CancelledError:  # the server stops; what the node did with it is not known
            return error_response(CommandError("timeout", "the gateway stops; the outcome is unknown"))
        except Exception as unexpected:  # noqa: BLE001 - the last line of defence; what is unexpected is logged
            error = as_command_error(unexpected)
            count(error.code)
            return error_response(error)
        count("ok")
        return response

    return answer


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer Starlette's own refusals (404, 405) in our form."""
    if not isinstance(error, HTTPException):
        return error_response(as_command_error(error))
    text = {404: "there is nothing at this path", 405: "this path does not take this method"}
    message = text.get(error.status_code, "the request cannot be answered")
    return error_response(HttpError(error.status_code, "bad_request", message, error.headers))
