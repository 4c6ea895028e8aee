"""What follows the frames of a tunnel, held to the decoder over generated streams cut at every place.

The walker sees headers only: streams here have UTF-8 text, good close codes and no compression, so that the
two have to come to the same verdict, at the same frame.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway._encode import encode_close
from gateway._frames import CLOSE, FAILED, Decoder
from gateway.connection._walker import FrameWalker
from tests.support.frames import MASK, frame

BOUND = 300

control = st.tuples(st.sampled_from([9, 10]), st.binary(max_size=125))
pieces = st.lists(st.text("abc", max_size=200).map(str.encode), min_size=1, max_size=4)


@st.composite
def messages(draw: st.DrawFn, masked: bool) -> bytes:
    mask = MASK if masked else None
    stream = b""
    parts = draw(pieces)
    for number, part in enumerate(parts):
        if draw(st.booleans()):
            opcode, payload = draw(control)
            stream += frame(opcode, payload, mask=mask)
        stream += frame(0 if number else 1, part, fin=number == len(parts) - 1, mask=mask)
    return stream


@st.composite
def faults(draw: st.DrawFn, masked: bool) -> bytes:
    mask = MASK if masked else None
    made: bytes = draw(
        st.sampled_from(
            [
                frame(1, b"x", mask=None if masked else MASK),
                frame(1, b"x", rsv=4, mask=mask),
                frame(1, b"x", rsv=1, mask=mask),
                frame(3, b"x", mask=mask),
                frame(11, b"x", mask=mask),
                frame(0, b"x", mask=mask),
                frame(9, b"x", fin=False, mask=mask),
                frame(9, b"x" * 126, mask=mask),
                frame(8, b"x", mask=mask),
                frame(1, b"x" * 9, form=16, mask=mask),
                frame(1, b"x" * 200, form=64, mask=mask),
                frame(2, b"x", declared=1 << 63, mask=mask),
                frame(2, b"x" * (BOUND + 1), mask=mask),
                frame(2, b"x" * BOUND, fin=False, mask=mask) + frame(0, b"y", mask=mask),
                frame(1, b"x", fin=False, mask=mask) + frame(1, b"y", mask=mask),
                encode_close(1000, b"bye", mask),
                encode_close(4999, b"", mask) + frame(1, b"after", mask=mask),
                frame(8, b"", mask=mask),
                b"",
            ]
        )
    )
    return made


def decoded(stream: bytes, *, masked: bool) -> tuple[int, int, int]:
    """Return messages, the close code of a close frame (0 without), and that of a failure."""
    decoder = Decoder(client=not masked, max_message_bytes=BOUND, max_fragments=1000, inflater=None)
    messages = close = failure = 0
    for event in decoder.receive(stream):
        if event.kind == FAILED:
            failure = event.close_code
        elif event.kind == CLOSE:
            close = event.close_code
        elif event.kind in {1, 2}:
            messages += 1
    return messages, close, failure


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans())
def test_the_walker_says_what_the_decoder_says_however_the_bytes_are_cut(
    data: st.DataObject, masked: bool
) -> None:
    stream = b"".join(data.draw(st.lists(messages(masked), max_size=3))) + data.draw(faults(masked))
    messages_, close, failure = decoded(stream, masked=masked)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    walker = FrameWalker(masked=masked, max_message_bytes=BOUND)
    passed, wrong = b"", 0
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        went, wrong = walker.walk_bytes(stream[start:end])
        passed += went
        if wrong:
            break
    assert stream.startswith(passed)
    assert (wrong, walker.messages) == (failure, messages_)
    assert walker.closed == bool(close)
    if close:
        assert walker.close_code == close
    # What passed is whole frames, or ends within a payload: the decoder finds nothing wrong with it.
    assert decoded(passed, masked=masked) == (messages_, close, 0)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_judged_as_the_decoder_judges_headers(stream: bytes, masked: bool) -> None:
    walker = FrameWalker(masked=masked, max_message_bytes=1 << 20)
    one_by_one = b""
    verdict = 0
    for at in range(len(stream)):
        went, verdict = walker.walk_bytes(stream[at : at + 1])
        one_by_one += went
        if verdict:
            break
    whole = FrameWalker(masked=masked, max_message_bytes=1 << 20)
    assert whole.walk_bytes(stream) == (one_by_one, verdict)
