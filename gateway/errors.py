"""The one tree of exceptions, and the one table of error codes that clients and services see.

Knows nothing of sockets, channels or brokers.  Whoever answers a peer maps an exception
to a close code, an error code or an HTTP status through the tables here and in
`gateway.closecodes`; the text of an exception never reaches a client unless it is a
`CommandError`, whose message is written for clients.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class ErrorInfo(NamedTuple):
    """One row of the table of error codes.

    `retry` tells a client whether sending the same command again later can help;
    `http_status` is what the publish API answers.
    """

    code: str
    http_status: int
    retry: bool
    meaning: str


ERROR_CODES: Final[dict[str, ErrorInfo]] = {
    info.code: info
    for info in (
        ErrorInfo("bad_request", 400, False, "the command or request is malformed"),
        ErrorInfo("unauthorized", 401, False, "no credentials, or not valid ones"),
        ErrorInfo("permission_denied", 403, False, "the caller may not do this here"),
        ErrorInfo("unknown_channel", 404, False, "no such channel, or the namespace is not configured"),
        ErrorInfo("already_subscribed", 409, False, "this connection is subscribed to the channel already"),
        ErrorInfo("not_subscribed", 409, False, "this connection is not subscribed to the channel"),
        ErrorInfo("limit_exceeded", 413, False, "a bound of size or number was reached"),
        ErrorInfo("rate_limited", 429, True, "too many in too short a time"),
        ErrorInfo("stale_version", 409, False, "the update was based on a version that is no longer current"),
        ErrorInfo("timeout", 504, True, "no answer in time; the outcome is unknown"),
        ErrorInfo("unavailable", 503, True, "the broker or the app service cannot be reached now"),
        ErrorInfo("internal", 500, True, "an error inside the gateway; its log has the details"),
    )
}


class GatewayError(Exception):
    """Base of every exception that Ringgate raises on purpose."""


class ProtocolError(GatewayError):
    """The peer broke a rule; the connection is closed with `close_code` (RFC 6455 section 7.4)."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(f"{close_code} {reason}")
        self.close_code = close_code
        self.reason = reason


class UsageError(GatewayError):
    """The embedding program called something in a way or at a time it may not."""


class BrokerError(GatewayError):
    """The broker could not do what was asked; nothing happened."""


class BrokerUnavailableError(BrokerError):
    """The broker cannot be reached or its queue is full; nothing happened."""


class OutcomeUnknownError(BrokerError):
    """The broker was cut off in mid-command: it may have happened.  Repeat with the same idempotency key."""


class ServiceError(GatewayError):
    """An app service was asked and gave no usable answer; what it did is not known.

    The text is for the log, and never reaches a client.
    """


class ServiceUnavailableError(ServiceError):
    """The app service was not asked: none can be reached, or too much waits; nothing happened."""


class ServiceTimeoutError(ServiceError):
    """The app service did not answer in time."""


class ConfigError(GatewayError):
    """The configuration is wrong; the message names key, place, what was found and what is allowed."""


class CommandError(GatewayError):
    """A command that is answered by an `error` event or an HTTP error; `message` is meant for the caller.

    Raises KeyError for a code that is not in `ERROR_CODES`.
    """

    def __init__(self, code: str, message: str) -> None:
        info = ERROR_CODES[code]
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry = info.retry
        self.http_status = info.http_status


class StaleVersionError(CommandError):
    """An update was based on another version than the current one, and nothing was changed.

    `epoch`, `version` and `data` (JSON text) are the current state, from which the caller can go on.
    """

    def __init__(self, epoch: str, version: int, data: bytes) -> None:
        super().__init__("stale_version", f"the current version is {version}")
        self.epoch = epoch
        self.version = version
        self.data = data
