# The encoder of RFC 6455 frames.  See _encode.pyx.
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t


# Whether `code` may be in a close frame (RFC 6455 sections 7.4.1 and 7.4.2), as closecodes.may_receive.
cdef inline bint may_send_close(unsigned int code) noexcept nogil:
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999

# Write a header without mask: at most 10 bytes at `out`; how many is returned.
cdef size_t write_header(char* out, int opcode, uint64_t payload_bytes, bint fin, bint rsv1) noexcept nogil
cpdef bytes encode_frame(int opcode, payload, bint fin=*, bint rsv1=*, mask=*)
cpdef bytes encode_close(int code, reason=*, mask=*)
