# cython: language_level=3, boundscheck=False, wraparound=False
"""Publications of one channel that leave for Redis together, and whoever waits to hear what became of them.

They are in pieces, each of which Redis keeps as one entry, so that it has as good as no work with each
publication.  Pieces are small beside the bound on bytes, since entries are forgotten whole.  It knows neither
scripts nor connections.  What always holds: publications are in the order in which they came; each publisher
is told once.
"""
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcpy

from gateway.broker._outcome cimport Outcome

from gateway.broker.interface import PublishResult
from gateway.broker.redis.messages import pack

cdef enum:
    _MOST_AT_ONCE = 256
    _MOST_BYTES = 1 << 20
    _PIECE_BYTES = 16 * 1024
    _PIECES = 16            # at least so many fit into the bound on bytes
    _ENTRY_BYTES = 100

MOST_AT_ONCE = _MOST_AT_ONCE
ENTRY_BYTES = _ENTRY_BYTES


cdef class Piece:
    """Publications that are kept, and named in a reply, together; one with an idempotency key is alone."""

    def __cinit__(self, publication=None, str key=""):
        self.data = bytearray()
        self.key = key
        if publication is not None:
            self.add(pack(publication), len(publication.data))

    cdef int add(self, bytes packed, Py_ssize_t payload_bytes) except -1:
        cdef Py_ssize_t at = PyByteArray_GET_SIZE(self.data)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(packed)
        PyByteArray_Resize(self.data, at + n)
        memcpy(PyByteArray_AS_STRING(self.data) + at, PyBytes_AS_STRING(packed), n)
        self.counted_bytes += payload_bytes + _ENTRY_BYTES
        self.count += 1
        return 0

    @property
    def packed(self):
        """The publications, one behind the other."""
        return bytes(self.data)


cdef class Group:
    """What leaves together.  `keys` and `options` are the channel's."""

    def __init__(self, keys, options):
        cdef long long bound = options.history_bytes // _PIECES if options.history_bytes else _PIECE_BYTES
        self.keys = keys
        self.options = options
        self.pieces = []
        self.publishers = []
        self.piece_bytes = min(bound, _PIECE_BYTES) if options.history_size else _MOST_BYTES

    cpdef bint add(self, publication, options, str key, publisher) except -1:
        """Take one more; tell whether it could be taken."""
        cdef bytes packed
        cdef Py_ssize_t payload_bytes
        cdef Piece piece = self.last
        if len(self.publishers) >= _MOST_AT_ONCE or (options is not self.options and options != self.options):
            return False
        packed = pack(publication)
        if self.size_bytes and self.size_bytes + PyBytes_GET_SIZE(packed) > _MOST_BYTES:
            return False
        payload_bytes = PyBytes_GET_SIZE(publication.data)
        if key or piece is None or piece.counted_bytes + payload_bytes + _ENTRY_BYTES > self.piece_bytes:
            piece = Piece(None, key)
            self.pieces.append(piece)
            self.last = None if key else piece
        piece.add(packed, payload_bytes)
        self.size_bytes += PyBytes_GET_SIZE(packed)
        self.publishers.append(publisher)
        return True

    def place(self, str epoch, long long first):
        """Tell every publisher where its publication stands: one behind the other."""
        cdef long long offset = first
        for publisher in self.publishers:
            if isinstance(publisher, Outcome):
                (<Outcome>publisher).place(epoch, offset)
            else:
                publisher.settle(PublishResult(epoch, offset))
            offset += 1

    def settle(self, outcomes):
        """Tell every publisher what came of its publication: a result for each, or one problem of all."""
        if isinstance(outcomes, Exception):
            outcomes = [outcomes] * len(self.publishers)
        for publisher, outcome in zip(self.publishers, outcomes, strict=True):
            publisher.settle(outcome)


cdef class Gatherer:
    """What was gathered since `take_groups` last gave it away.

    `keys_of` gives the keys of a channel; `on_first` is called when the first publication comes.
    """

    def __init__(self, keys_of, on_first):
        self.keys_of = keys_of
        self.on_first = on_first
        self.groups = []
        self.open = {}

    def begin_publish(self, str channel, publication, options, str key, publisher):
        """Have a publication leave with what else there is."""
        cdef Group group = self.open.get(channel)
        if group is not None and group.add(publication, options, key, publisher):
            return
        if not self.groups:
            self.on_first()
        group = Group(self.keys_of(channel), options)
        group.add(publication, options, key, publisher)
        self.open[channel] = group
        self.groups.append(group)

    def take_groups(self):
        """Return what was gathered, in order, and begin anew."""
        cdef list groups = self.groups
        self.groups = []
        self.open = {}
        return groups
