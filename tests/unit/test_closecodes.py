"""The table of close codes, and which of them a peer may send (RFC 6455 section 7.4)."""

from __future__ import annotations

import pytest

from gateway import closecodes
from gateway.closecodes import CLOSE_CODES, may_receive

NEVER_SENT = {closecodes.NO_STATUS, closecodes.ABNORMAL}


def constants() -> dict[str, int]:
    found = {name: value for name, value in vars(closecodes).items() if name.isupper() and type(value) is int}
    return {name: value for name, value in found.items() if name != "MAX_REASON_BYTES"}


def test_every_constant_but_the_unsendable_is_in_the_table() -> None:
    assert set(constants().values()) - NEVER_SENT == set(CLOSE_CODES)


def test_table_names_codes_as_the_constants_do() -> None:
    names = {info.name.upper(): code for code, info in CLOSE_CODES.items()}
    assert names == {name: code for name, code in constants().items() if code not in NEVER_SENT}


def test_table_is_keyed_by_code_and_every_row_has_a_meaning() -> None:
    for code, info in CLOSE_CODES.items():
        assert info.code == code
        assert info.meaning


def test_codes_that_no_endpoint_may_send_are_not_in_the_table() -> None:
    assert not {1004, 1005, 1006, 1015} & set(CLOSE_CODES)


def test_own_codes_lie_in_the_three_bands_that_tell_clients_what_to_do() -> None:
    own = [code for code in CLOSE_CODES if code >= 3000]
    assert {code // 100 for code in own} == {40, 41, 42}
    resumed = {CLOSE_CODES[code].name for code in own if code >= 4200}
    assert resumed == {"slow_consumer", "no_pong", "drain", "state_lost"}
    assert {CLOSE_CODES[code].name for code in own if 4100 <= code < 4200} == {
        "over_capacity",
        "server_error",
        "rate_limited",
    }


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_may_receive_assigned_library_and_private_codes(code: int) -> None:
    assert may_receive(code)


@pytest.mark.parametrize(
    "code", [-1, 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535, 65536]
)
def test_may_not_receive_reserved_unassigned_and_impossible_codes(code: int) -> None:
    assert not may_receive(code)


def test_everything_we_send_may_be_received() -> None:
    assert all(may_receive(code) for code in CLOSE_CODES)
