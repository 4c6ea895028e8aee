"""What can be set about a client besides its URL and token."""

from __future__ import annotations

from typing import Final

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in seconds.

    backoff_first, backoff_most   bounds of the first wait and of every wait between attempts; it lies evenly
                                  between 0 and the bound, which doubles
    connect_timeout               from an attempt's beginning to `hello`
    close_timeout                 for the gateway to answer a close frame
    max_queued                    commands that wait to be sent or for their answers
    max_unread                    messages that wait for an iterator; then their channel is let go for a while
    max_message_bytes             the largest message that is taken from the gateway
    ttl                           how long a publication is kept and repeated until it is answered
    timeout                       how long the answer to any other command is waited for
    """

    backoff_first: float = 0.5
    backoff_most: float = 8.0
    connect_timeout: float = 10.0
    close_timeout: float = 2.0
    max_queued: int = 1000
    max_unread: int = 1000
    max_message_bytes: int = 64 << 20
    ttl: float = 240.0
    timeout: float = 10.0


DEFAULTS: Final = Options()
