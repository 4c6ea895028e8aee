"""The reader of upstreams' answers beside h11; for a property test and for fuzzing."""

from __future__ import annotations

import h11

from gateway.passthrough.answer import AnswerHead, AnswerReader, BadAnswerError

LENGTHS = {b"content-length", b"transfer-encoding"}


def ours(data: bytes, cuts: list[int]) -> tuple[AnswerHead, bytes] | str | None:
    """What the reader finds in bytes that come in pieces, everything behind a head together."""
    reader, at = AnswerReader(), 0
    for cut in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        if cut == at:
            continue
        try:
            found = reader.receive(data[at:cut])
        except BadAnswerError:
            return "bad"
        at = cut
        if found is not None:
            return found[0], found[1] + data[at:]
    return None


def theirs(data: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes] | str | None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Upgrade", "websocket")]))
    try:
        connection.receive_data(data)
        event = connection.next_event()
        while isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            event = connection.next_event()
    except h11.RemoteProtocolError:
        return "bad"
    if not isinstance(event, (h11.Response, h11.InformationalResponse)):
        return None
    return event.status_code, list(event.headers), connection.trailing_data[0]


def check_against_h11(data: bytes, cuts: list[int]) -> None:
    """Assert that what the reader finds is the same however bytes are cut, and that h11 reads it alike."""
    found = ours(data, cuts)
    assert found == ours(data, []) == ours(data, list(range(len(data))))
    if not isinstance(found, tuple):
        return
    head, rest = found
    read = theirs(data)
    if read == "bad" and (head.status != 101 or any(name in LENGTHS for name, _ in head.fields)):
        return  # it minds the length of a body, which nobody reads here; a handshake that has one is refused
    assert isinstance(read, tuple)
    assert (head.status, head.fields) == read[:2]
    assert data.endswith(rest)
    if head.status == 101:
        assert rest == read[2]
