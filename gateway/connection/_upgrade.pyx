# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The common upgrade, read in one pass over its bytes and answered.

It only ever accepts.  Whatever is incomplete, unusual or wrong is left to `handshake.respond`, which
takes requests apart with care, judges, and refuses.  What always holds: what is accepted here
`respond` accepts too, with the same answer; a property test holds the two to each other and to wsproto.

It knows bytes, routes and what was negotiated, but no sockets.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memchr, memcmp, memcpy, memset

from gateway.connection.accepted import Accepted
from gateway.connection.negotiate import select_subprotocol
from gateway.connection.request import ScannedRequest

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char* one, const char* other, size_t n)

cdef extern from "connection/_sha1.h" nogil:
    void rg_sha1(unsigned char* digest, const char* message, size_t n)

cdef enum:
    # headers
    HOST = 0
    UPGRADE = 1
    CONNECTION = 2
    KEY = 3
    VERSION = 4
    EXTENSIONS = 5
    PROTOCOL = 6
    ORIGIN = 7
    FIELDS = 8
    OTHER = 9
    UNUSUAL = 10
    # kinds of characters
    TOKEN = 1
    TEXT = 2                # of a header's value
    VISIBLE = 4             # of a target
    NAME = 8                # of a host
    BASE64 = 16

    MAX_HOST_BYTES = 259    # as in request.py
    MAX_EXTENSIONS_BYTES = 2048
    KEY_BYTES = 24
    ACCEPT_BYTES = 28

cdef struct Field:
    const char* at          # NULL: there is none
    Py_ssize_t n

cdef const char* DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef const char* GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
cdef bytes SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
cdef bytes SUBPROTOCOL_IS = b"\r\nSec-WebSocket-Protocol: "
cdef bytes EXTENSIONS_ARE = b"\r\nSec-WebSocket-Extensions: "
cdef bytes END = b"\r\n\r\n"

cdef unsigned char[256] KINDS


cdef void fill_kinds():
    cdef int i
    cdef bytes alphanumeric = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    memset(KINDS, 0, sizeof(KINDS))
    for i in range(256):
        if i == 9 or 0x20 <= i < 0x7F or i >= 0x80:
            KINDS[i] |= TEXT
        if 0x21 <= i < 0x7F and i != 35:            # no fragment
            KINDS[i] |= VISIBLE
    for i in alphanumeric:
        KINDS[i] |= TOKEN | NAME | BASE64
    for i in b"!#$%&'*+-.^_`|~":
        KINDS[i] |= TOKEN
    for i in b"_.~-":
        KINDS[i] |= NAME
    for i in b"+/":
        KINDS[i] |= BASE64


fill_kinds()


def scan_upgrade(data, routes, limits):
    """Return `handshake.Accepted` for an upgrade of the common form that is accepted, else None."""
    cdef bytes whole = bytes(data)
    return scan(PyBytes_AS_STRING(whole), len(whole), routes, limits)


cdef object scan(const char* data, Py_ssize_t n, object routes, object limits):
    cdef int line_bytes = limits[0], most_headers = limits[1], most_bytes = limits[2]
    cdef Field[FIELDS] fields
    cdef const char* target_end
    cdef const char* path_end
    cdef Py_ssize_t head_bytes
    n = min(n, <Py_ssize_t>min(line_bytes, most_bytes))     # so no line is too long
    if n < 16 or memcmp(data, b"GET /", 5):
        return None
    target_end = data + 4
    while target_end < data + n and KINDS[<unsigned char>target_end[0]] & VISIBLE:
        target_end += 1
    if data + n - target_end < 11 or memcmp(target_end, b" HTTP/1.1\r\n", 11):
        return None
    memset(fields, 0, sizeof(fields))
    head_bytes = read_fields(fields, data, target_end + 11 - data, n, most_headers)
    if head_bytes == 0 or not is_plain(fields):
        return None
    path_end = <const char*>memchr(data + 4, 63, target_end - data - 4)
    if path_end == NULL:
        path_end = target_end
    path = PyUnicode_DecodeASCII(data + 4, path_end - data - 4, NULL)
    options = routes.get(path)
    if options is None:
        return None
    query = ""
    if target_end - path_end > 1:
        query = PyUnicode_DecodeASCII(path_end + 1, target_end - path_end - 1, NULL)
    return accepted(fields, options, ScannedRequest(data[:head_bytes], path, query))


cdef Py_ssize_t read_fields(Field* fields, const char* data, Py_ssize_t at, Py_ssize_t n,
                            int most_headers) noexcept nogil:
    """Find the headers of the handshake; return the bytes of the head, or 0: not whole, or unusual."""
    cdef Py_ssize_t start, value, end
    cdef int _count, field
    for _count in range(most_headers + 1):
        start = at
        while at < n and KINDS[<unsigned char>data[at]] & TOKEN:
            at += 1
        if at == start and at + 1 < n and data[at] == 13 and data[at + 1] == 10:
            return at + 2
        if at == start or at >= n or data[at] != 58:
            return 0
        value = at + 1
        field = field_of(data + start, at - start)
        at = value
        while at < n and KINDS[<unsigned char>data[at]] & TEXT:
            at += 1
        if field == UNUSUAL or at + 1 >= n or data[at] != 13 or data[at + 1] != 10:
            return 0
        if field < FIELDS:
            if fields[field].at != NULL:
                return 0
            end = at
            while value < end and (data[value] == 32 or data[value] == 9):
                value += 1
            while value < end and (data[end - 1] == 32 or data[end - 1] == 9):
                end -= 1
            fields[field].at = data + value
            fields[field].n = end - value
        at += 2
    return 0


cdef int field_of(const char* name, Py_ssize_t n) noexcept nogil:
    """Return which header it is."""
    if n == 4:
        return HOST if not strncasecmp(name, b"host", n) else OTHER
    if n == 6:
        return ORIGIN if not strncasecmp(name, b"origin", n) else OTHER
    if n == 7:
        return UPGRADE if not strncasecmp(name, b"upgrade", n) else OTHER
    if n == 10:
        return CONNECTION if not strncasecmp(name, b"connection", n) else OTHER
    if n == 14:
        return UNUSUAL if not strncasecmp(name, b"content-length", n) else OTHER
    if n == 17:
        if not strncasecmp(name, b"transfer-encoding", n):
            return UNUSUAL
        return KEY if not strncasecmp(name, b"sec-websocket-key", n) else OTHER
    if n == 21:
        return VERSION if not strncasecmp(name, b"sec-websocket-version", n) else OTHER
    if n == 22:
        return PROTOCOL if not strncasecmp(name, b"sec-websocket-protocol", n) else OTHER
    if n == 24:
        return EXTENSIONS if not strncasecmp(name, b"sec-websocket-extensions", n) else OTHER
    return OTHER


cdef bint is_plain(const Field* fields) noexcept nogil:
    """Tell whether the headers are certain to be good: each that is needed, and in its plain form."""
    cdef Py_ssize_t i
    if fields[UPGRADE].n != 9 or strncasecmp(fields[UPGRADE].at, b"websocket", 9):
        return False
    if fields[VERSION].n != 2 or memcmp(fields[VERSION].at, b"13", 2):
        return False
    if fields[KEY].n != KEY_BYTES or memcmp(fields[KEY].at + KEY_BYTES - 2, b"==", 2):
        return False
    for i in range(KEY_BYTES - 2):
        if not KINDS[<unsigned char>fields[KEY].at[i]] & BASE64:
            return False
    if fields[EXTENSIONS].n > MAX_EXTENSIONS_BYTES or not is_ascii(fields[PROTOCOL]):
        return False
    return is_host(fields[HOST]) and names_upgrade(fields[CONNECTION])


cdef bint is_ascii(Field field) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(field.n):
        if <unsigned char>field.at[i] >= 0x80:
            return False
    return True


cdef bint is_host(Field host) noexcept nogil:
    """Tell whether it is `name` or `name:port`, and nothing that has to be decoded."""
    cdef Py_ssize_t i = 0, port
    if host.n == 0 or host.n > MAX_HOST_BYTES or host.at[0] in (46, 126, 45):
        return False
    while i < host.n and KINDS[<unsigned char>host.at[i]] & NAME:
        if host.n - i >= 4 and not strncasecmp(host.at + i, b"xn--", 4):
            return False
        i += 1
    if i == host.n:
        return True
    port = i + 1
    if i == 0 or host.at[i] != 58 or not 1 <= host.n - port <= 5:
        return False
    for i in range(port, host.n):
        if not 48 <= host.at[i] <= 57:
            return False
    return True


cdef bint names_upgrade(Field connection) noexcept nogil:
    """Tell whether the list has `Upgrade` in it, and is ASCII."""
    cdef Py_ssize_t start = 0, end, i
    cdef bint found = False
    if not is_ascii(connection):
        return False
    while start < connection.n and not found:
        end = start
        while end < connection.n and connection.at[end] != 44:
            end += 1
        i = end
        while start < i and connection.at[start] in (32, 9):
            start += 1
        while start < i and connection.at[i - 1] in (32, 9):
            i -= 1
        found = i - start == 7 and not strncasecmp(connection.at + start, b"upgrade", 7)
        start = end + 1
    return found


cdef object accepted(const Field* fields, object options, object request):
    """Return what was negotiated and the answer, or None where it is not certain."""
    cdef bytes subprotocol = b""
    deflate = None
    cdef bytes extensions = b""
    if fields[ORIGIN].at != NULL:
        origin, host = bytes_of(fields[ORIGIN]), bytes_of(fields[HOST])
        if not options.origin_policy.allows(origin, host):
            return None
    if fields[EXTENSIONS].n:
        negotiated = options.common_offers.get(bytes_of(fields[EXTENSIONS]))
        if negotiated is None:
            return None
        deflate, extensions = negotiated
    if fields[PROTOCOL].n:
        subprotocol = select_subprotocol(bytes_of(fields[PROTOCOL]), options.subprotocol_names)
    response = switching_protocols(fields[KEY].at, subprotocol, extensions)
    return Accepted(response, subprotocol.decode(), deflate, request)


cdef bytes bytes_of(Field field):
    return PyBytes_FromStringAndSize(field.at, field.n)


cdef bytes switching_protocols(const char* key, bytes subprotocol, bytes extensions):
    """Return the 101 answer."""
    cdef char accept[ACCEPT_BYTES]
    cdef char* to
    cdef Py_ssize_t n = len(SWITCHING) + ACCEPT_BYTES + len(END)
    cdef bytes response
    if subprotocol:
        n += len(SUBPROTOCOL_IS) + len(subprotocol)
    if extensions:
        n += len(EXTENSIONS_ARE) + len(extensions)
    response = PyBytes_FromStringAndSize(NULL, n)
    accept_key(accept, key)
    to = append(PyBytes_AS_STRING(response), SWITCHING)
    memcpy(to, accept, ACCEPT_BYTES)
    to += ACCEPT_BYTES
    if subprotocol:
        to = append(append(to, SUBPROTOCOL_IS), subprotocol)
    if extensions:
        to = append(append(to, EXTENSIONS_ARE), extensions)
    append(to, END)
    return response


cdef char* append(char* to, bytes text) noexcept:
    memcpy(to, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return to + PyBytes_GET_SIZE(text)


cdef void accept_key(char* to, const char* key) noexcept nogil:
    """Write the 28 characters of Sec-WebSocket-Accept (RFC 6455 section 4.2.2)."""
    cdef char[60] text
    cdef unsigned char[21] digest
    cdef unsigned int three
    cdef int i, j
    memcpy(text, key, KEY_BYTES)
    memcpy(text + KEY_BYTES, GUID, 36)
    rg_sha1(digest, text, sizeof(text))
    digest[20] = 0
    for i in range(7):
        three = <unsigned int>digest[3 * i] << 16 | <unsigned int>digest[3 * i + 1] << 8 | digest[3 * i + 2]
        for j in range(4):
            to[4 * i + j] = DIGITS[three >> (18 - 6 * j) & 63]
    to[27] = 61
