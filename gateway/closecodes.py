"""The one table of WebSocket close codes that Ringgate sends (RFC 6455 section 7.4 and our own).

Our own codes say what a client should do: 4000 to 4099 do not reconnect unchanged,
4100 to 4199 reconnect after a back-off, 4200 to 4299 reconnect and resume at once.
`docs/protocol.md` lists the same table; a test compares the two.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class CloseInfo(NamedTuple):
    """One row: the code, its name, and when it is sent."""

    code: int
    name: str
    meaning: str


NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
INVALID_PAYLOAD: Final = 1007
POLICY_VIOLATION: Final = 1008
MESSAGE_TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012

MISUSE: Final = 4000
UNAUTHORIZED: Final = 4001
FORBIDDEN: Final = 4002
NO_CREDENTIALS: Final = 4003
DISCONNECTED: Final = 4004
OVER_CAPACITY: Final = 4100
SERVER_ERROR: Final = 4101
RATE_LIMITED: Final = 4102
SLOW_CONSUMER: Final = 4200
NO_PONG: Final = 4201
DRAIN: Final = 4202
STATE_LOST: Final = 4203

MAX_REASON_BYTES: Final = 123
"""What fits behind the code in a close frame (RFC 6455 section 5.5)."""

CLOSE_CODES: Final[dict[int, CloseInfo]] = {
    info.code: info
    for info in (
        CloseInfo(NORMAL, "normal", "the client closed, and is answered"),
        CloseInfo(GOING_AWAY, "going_away", "sent by browsers when a page is left"),
        CloseInfo(PROTOCOL_ERROR, "protocol_error", "a frame broke RFC 6455 or RFC 7692"),
        CloseInfo(
            UNSUPPORTED_DATA,
            "unsupported_data",
            "a binary message where the subprotocol has text, or the reverse",
        ),
        CloseInfo(
            INVALID_PAYLOAD,
            "invalid_payload",
            "text that is not UTF-8, or compressed data that does not inflate",
        ),
        CloseInfo(
            POLICY_VIOLATION,
            "policy_violation",
            "a bound on fragments or on the time of one message was reached, or a limit by a connection that "
            "is passed through or a GRIP service's",
        ),
        CloseInfo(MESSAGE_TOO_BIG, "message_too_big", "a message is larger than the configured bound"),
        CloseInfo(INTERNAL_ERROR, "internal_error", "an error inside the gateway"),
        CloseInfo(
            SERVICE_RESTART,
            "service_restart",
            "of a connection that is passed through or a GRIP service's: its service is gone, or knows it no "
            "more, or the gateway is stopping",
        ),
        CloseInfo(MISUSE, "misuse", "frames that hold no commands at all, again and again"),
        CloseInfo(UNAUTHORIZED, "unauthorized", "the token is missing, wrong or expired"),
        CloseInfo(FORBIDDEN, "forbidden", "the app service refused this client"),
        CloseInfo(NO_CREDENTIALS, "no_credentials", "no credentials came within the deadline"),
        CloseInfo(DISCONNECTED, "disconnected", "the app service asked for this client to be disconnected"),
        CloseInfo(OVER_CAPACITY, "over_capacity", "a bound on connections was reached"),
        CloseInfo(SERVER_ERROR, "server_error", "the gateway cannot serve this client now"),
        CloseInfo(
            RATE_LIMITED, "rate_limited", "the client went on sending too much although it was told so"
        ),
        CloseInfo(
            SLOW_CONSUMER,
            "slow_consumer",
            "the client read too slowly for a channel whose policy is disconnect",
        ),
        CloseInfo(NO_PONG, "no_pong", "nothing was heard from the client in time"),
        CloseInfo(DRAIN, "drain", "the gateway is stopping or moving its clients elsewhere"),
        CloseInfo(STATE_LOST, "state_lost", "what the gateway knew of this session is gone"),
    )
}


def may_receive(code: int) -> bool:
    """Tell whether a peer may send `code` in a close frame (RFC 6455 section 7.4.1 and 7.4.2).

    1004, 1005, 1006 and 1015 are reserved for reporting inside an endpoint; 1016 to 2999
    are unassigned; 3000 to 4999 belong to libraries and applications.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def is_for_services(code: int) -> bool:
    """Tell whether an app service may have a connection closed with a code."""
    return code == NORMAL or 3000 <= code <= 4999
