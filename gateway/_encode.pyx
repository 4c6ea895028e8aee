# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The encoder of RFC 6455 frames: no I/O, no asyncio, no randomness; layer 0.

What always holds: lengths are written in their shortest form; a frame made here is one that
`_frames.Decoder` of the other role accepts.  `write_header` is for callers in Cython that keep to
the rules by themselves; `encode_frame` and `encode_close` check them.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from gateway.errors import UsageError

cdef extern from "_mask.h" nogil:
    void rg_mask(char* to, const char* source, size_t n, const unsigned char* key, unsigned int at)

cdef extern from "_utf8.h" nogil:
    const uint32_t UTF8_ACCEPT "RG_UTF8_ACCEPT"
    uint32_t rg_utf8_check(uint32_t state, const char* text, size_t n)

cdef enum:
    BINARY = 2
    CLOSE = 8
    PONG = 10
    HEAD_BYTES = 14         # the longest header: 2, 8 of length, 4 of key
    CONTROL_BYTES = 125     # RFC 6455 section 5.5


cdef size_t write_header(char* out, int opcode, uint64_t payload_bytes, bint fin, bint rsv1) noexcept nogil:
    """Write an unmasked frame's header at `out`, in its shortest form: at most 10 bytes (section 5.2)."""
    cdef int i
    out[0] = <char>(fin << 7 | rsv1 << 6 | opcode)
    if payload_bytes < 126:
        out[1] = <char>payload_bytes
        return 2
    if payload_bytes < 65536:
        out[1] = 126
        out[2] = <char>(payload_bytes >> 8)
        out[3] = <char>(payload_bytes & 0xFF)
        return 4
    out[1] = 127
    for i in range(8):
        out[2 + i] = <char>(payload_bytes >> (56 - 8 * i) & 0xFF)
    return 10


cdef bytes _frame(int opcode, const char* payload, size_t n, bint fin, bint rsv1, bytes mask):
    cdef char head[HEAD_BYTES]
    cdef size_t head_bytes = write_header(head, opcode, n, fin, rsv1)
    cdef bytes frame
    cdef char* out
    if mask is not None:
        if len(mask) != 4:
            raise UsageError("a mask has 4 bytes")
        head[1] |= <char>0x80
        memcpy(head + head_bytes, PyBytes_AS_STRING(mask), 4)
        head_bytes += 4
    frame = PyBytes_FromStringAndSize(NULL, head_bytes + n)
    out = PyBytes_AS_STRING(frame)
    memcpy(out, head, head_bytes)
    if mask is not None:
        rg_mask(out + head_bytes, payload, n, <const unsigned char*>PyBytes_AS_STRING(mask), 0)
    elif n:
        memcpy(out + head_bytes, payload, n)
    return frame


cpdef bytes encode_frame(int opcode, payload, bint fin=True, bint rsv1=False, mask=None):
    """Encode one frame (RFC 6455 section 5.2).

    `opcode`: 0 to 2, 8 to 10.  `payload`: bytes-like, text already in UTF-8.  `mask`: 4 unpredictable
    bytes when we are the client, else None.  Raises UsageError for an unknown opcode, a control frame
    that is too long or in fragments, and a mask that is not 4 bytes.
    """
    cdef Py_buffer view
    if not (0 <= opcode <= BINARY or CLOSE <= opcode <= PONG):
        raise UsageError("unknown opcode")
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        if opcode >= CLOSE and (view.len > CONTROL_BYTES or not fin or rsv1):
            raise UsageError("a control frame has at most 125 bytes, and is whole and not compressed")
        return _frame(opcode, <const char*>view.buf, view.len, fin, rsv1, mask)
    finally:
        PyBuffer_Release(&view)


cpdef bytes encode_close(int code, reason="", mask=None):
    """Encode a close frame (RFC 6455 section 5.5.1); 1005 makes one without a code.

    `reason`: str, or bytes in UTF-8; cut to 123 bytes between characters.  `mask` as in `encode_frame`.
    Raises UsageError for a code that may not be sent, for a reason with 1005, or one not in UTF-8.
    """
    cdef bytes text = reason.encode() if isinstance(reason, str) else bytes(reason)
    cdef Py_ssize_t size = len(text)
    if rg_utf8_check(UTF8_ACCEPT, text, size) != UTF8_ACCEPT:
        raise UsageError("a close reason is UTF-8")
    if code == 1005 and size == 0:
        return _frame(CLOSE, b"", 0, True, False, mask)
    if code < 0 or not may_send_close(code):
        raise UsageError("this close code may not be sent")
    if size > CONTROL_BYTES - 2:
        size = CONTROL_BYTES - 2
        while text[size] & 0xC0 == 0x80:
            size -= 1
    body = code.to_bytes(2, "big") + text[:size]
    return _frame(CLOSE, PyBytes_AS_STRING(body), len(body), True, False, mask)


def mask_rounds(bytearray data, bytes mask, int rounds):
    """XOR `data` in place with the 4 bytes of `mask`, `rounds` times (for bench/ and nothing else)."""
    cdef char* start = PyByteArray_AS_STRING(data)
    cdef size_t n = len(data)
    cdef const unsigned char* key = <const unsigned char*>PyBytes_AS_STRING(mask)
    for _ in range(rounds):
        rg_mask(start, start, n, key, 0)


def copy_rounds(bytearray to, bytearray source, int rounds):
    """memcpy `source` to `to` (of the same size), `rounds` times: for bench/ and nothing else."""
    cdef size_t n = min(len(to), len(source))
    for _ in range(rounds):
        memcpy(PyByteArray_AS_STRING(to), PyByteArray_AS_STRING(source), n)
