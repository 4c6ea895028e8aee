"""The tree of exceptions and the table of error codes."""

from __future__ import annotations

import inspect

import pytest

from gateway import errors
from gateway.errors import (
    ERROR_CODES,
    BrokerError,
    BrokerUnavailableError,
    CommandError,
    ConfigError,
    GatewayError,
    OutcomeUnknownError,
    ProtocolError,
    UsageError,
)

DOCUMENTED = {
    "bad_request",
    "unauthorized",
    "permission_denied",
    "unknown_channel",
    "already_subscribed",
    "not_subscribed",
    "limit_exceeded",
    "rate_limited",
    "stale_version",
    "timeout",
    "unavailable",
    "internal",
}


def test_error_codes_are_the_documented_ones() -> None:
    assert set(ERROR_CODES) == DOCUMENTED


def test_error_codes_are_keyed_by_their_own_code() -> None:
    assert all(code == info.code for code, info in ERROR_CODES.items())


def test_error_codes_have_an_http_error_status_and_a_meaning() -> None:
    for info in ERROR_CODES.values():
        assert 400 <= info.http_status <= 599
        assert info.meaning


def test_error_codes_invite_to_retry_exactly_what_passes_by_itself() -> None:
    retried = {code for code, info in ERROR_CODES.items() if info.retry}
    assert retried == {"rate_limited", "timeout", "unavailable", "internal"}
    assert all(info.http_status in {429, 500, 503, 504} for info in ERROR_CODES.values() if info.retry)


def test_every_exception_of_the_module_is_a_gateway_error() -> None:
    classes = [member for _, member in inspect.getmembers(errors, inspect.isclass)]
    exceptions = [member for member in classes if issubclass(member, Exception)]
    assert len(exceptions) >= 8
    assert all(issubclass(exception, GatewayError) for exception in exceptions)


def test_broker_errors_tell_done_from_unknown() -> None:
    assert issubclass(BrokerUnavailableError, BrokerError)
    assert issubclass(OutcomeUnknownError, BrokerError)
    assert not issubclass(OutcomeUnknownError, BrokerUnavailableError)
    assert not issubclass(BrokerUnavailableError, OutcomeUnknownError)


def test_faults_of_peer_caller_and_configuration_are_apart() -> None:
    for one, other in ((ProtocolError, UsageError), (UsageError, ConfigError), (ConfigError, BrokerError)):
        assert not issubclass(one, other)
        assert not issubclass(other, one)


def test_protocol_error_carries_close_code_and_reason() -> None:
    error = ProtocolError(1002, "reserved bit set")
    assert (error.close_code, error.reason, str(error)) == (
        1002,
        "reserved bit set",
        "1002 reserved bit set",
    )


@pytest.mark.parametrize("code", sorted(DOCUMENTED))
def test_command_error_takes_status_and_retry_from_the_table(code: str) -> None:
    error = CommandError(code, "said to the caller")
    assert (error.code, error.message) == (code, "said to the caller")
    assert (error.http_status, error.retry) == (ERROR_CODES[code].http_status, ERROR_CODES[code].retry)
    assert str(error) == f"{code}: said to the caller"


def test_command_error_of_a_code_not_in_the_table_is_refused() -> None:
    with pytest.raises(KeyError):
        CommandError("made_up", "text")
