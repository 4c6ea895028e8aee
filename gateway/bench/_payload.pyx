# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Payloads of the load tool: a tag (a mark of this run and a number), then filling.

The tag lets every delivery be counted and checked, wherever in its envelope a server puts the payload.  It is
printable ASCII that JSON does not escape.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from gateway.errors import UsageError

cdef extern from "<string.h>" nogil:
    void* memmem(const void* data, size_t n, const void* wanted, size_t wanted_bytes)


cdef class Template:
    """A message around a payload: `before`, the payload of `payload_bytes` (16 at least), `after`."""

    def __init__(self, bytes mark, size_t payload_bytes, *, bytes before=b"", bytes after=b""):
        if len(mark) != MARK_BYTES or payload_bytes < TAG_BYTES:
            raise UsageError(f"a payload has at least {TAG_BYTES} bytes, for its number")
        text = before + mark + b"0" * DIGITS + b"." * (payload_bytes - TAG_BYTES) + after
        self.data_bytes = PyBytes_GET_SIZE(text)
        self.data = <char*>malloc(self.data_bytes)
        if self.data == NULL:
            raise MemoryError
        memcpy(self.data, PyBytes_AS_STRING(text), self.data_bytes)
        self.payload_at = len(before)
        self.payload_bytes = payload_bytes

    def __dealloc__(self):
        free(self.data)

    cdef void set_number(self, uint64_t number) noexcept nogil:
        cdef char* to = self.data + self.payload_at + MARK_BYTES
        cdef const char* digits = b"0123456789abcdef"
        cdef int i
        for i in range(DIGITS - 1, -1, -1):
            to[i] = digits[number & 15]
            number >>= 4

    def message(self, uint64_t number):
        """Return the message with this number, as it is sent."""
        self.set_number(number)
        return self.data[:self.data_bytes]


cdef class Finder:
    """Finds the number in a message."""

    def __init__(self, bytes mark):
        if len(mark) != MARK_BYTES:
            raise UsageError(f"a mark has {MARK_BYTES} bytes")
        memcpy(self._mark, PyBytes_AS_STRING(mark), MARK_BYTES)

    cdef long long find(self, const char* data, size_t n) noexcept nogil:
        cdef const char* tag = data + self._at
        cdef long long number = 0
        cdef int i
        cdef char c
        if self._at + TAG_BYTES > n or memcmp(tag, self._mark, MARK_BYTES) != 0:
            tag = <const char*>memmem(data, n, self._mark, MARK_BYTES)
            if tag == NULL or tag + TAG_BYTES > data + n:
                return -1
            self._at = tag - data
        for i in range(MARK_BYTES, TAG_BYTES):
            c = tag[i]
            if c'0' <= c <= c'9':
                number = number << 4 | (c - c'0')
            elif c'a' <= c <= c'f':
                number = number << 4 | (c - c'a' + 10)
            else:
                return -1
        self.at = self._at
        return number

    def number(self, bytes message):
        """Return the number in a message, or -1."""
        return self.find(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
