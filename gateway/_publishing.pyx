# cython: language_level=3, boundscheck=False, wraparound=False
"""A client's publish on its way to the broker and back, without a coroutine or a task of its own.

It knows its session and the node, and the broker's outcomes as records.  How it works: the session keeps
`Publishing`s in the order of the commands; the broker settles them, in whatever order; the session answers,
from the oldest on, those that are settled.  A `Route` is what is known of a channel in which every client may
publish as fast as it likes, so that a publish to it need not be judged again; whatever it cannot do, because
it is rare or wrong, it leaves to `commands.py`.

What always holds: each is settled once, and answered at most once; a route does nothing but what the slow way
would do, and nothing at all with other options of the node than it was made with.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from gateway.broker._outcome cimport Outcome

from orjson import JSONDecodeError, loads

from gateway.errors import CommandError
from gateway.message.json import MAX_DEPTH, check_json
from gateway.message.publication import Publication

cdef extern from "Python.h":
    str PyUnicode_FromStringAndSize(const char*, Py_ssize_t)

cdef extern from "<time.h>" nogil:
    enum:
        CLOCK_REALTIME
    cdef struct timespec:
        long long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec* now)

cdef enum:
    _PREFIX_BYTES = 64

cdef const char* DIGITS = "0123456789abcdef"
cdef Py_ssize_t SHALLOW_BYTES = 2 * MAX_DEPTH   # each level takes two characters


def wall_ms():
    """Return milliseconds since 1970."""
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef class Numbering:
    """Ids of publications: a prefix of at most 64 ASCII characters, a hyphen, and a count in hexadecimal."""

    def __init__(self, str prefix):
        self.prefix = prefix.encode("ascii")[:_PREFIX_BYTES] + b"-"

    cpdef str next(self):
        """Return the next id."""
        cdef char text[_PREFIX_BYTES + 1 + 16]
        cdef Py_ssize_t at = PyBytes_GET_SIZE(self.prefix)
        cdef unsigned long long left
        cdef int shift = 0
        self.count += 1
        left = self.count >> 4
        while left:
            shift += 4
            left >>= 4
        memcpy(text, PyBytes_AS_STRING(self.prefix), at)
        while shift >= 0:
            text[at] = DIGITS[self.count >> shift & 15]
            at += 1
            shift -= 4
        return PyUnicode_FromStringAndSize(text, at)


cdef class Buckets:
    """How many numbers were observed up to each of at most 31 ascending bounds, and above; and their sum."""

    def __init__(self, bounds):
        if len(bounds) >= _MOST_BUCKETS:
            raise ValueError("too many bounds")
        self.number = 0
        for bound in bounds:
            self.bounds[self.number] = bound
            self.number += 1

    def observe(self, double value):
        """Count one."""
        cdef int at = 0
        while at < self.number and self.bounds[at] < value:
            at += 1
        self.found[at] += 1
        self.sum += value

    @property
    def counts(self):
        """Numbers of those that belong to each bound and to none of a lower one; the last: to no bound."""
        return [self.found[at] for at in range(self.number + 1)]


cdef class Publishing(Outcome):
    """One publish command that was given to the broker."""

    def __init__(self, session, command):
        self.begin(session, command, session.node.loop.time)

    cdef int begin(self, object session, object command, object clock) except -1:
        self.session = session
        self.command = command
        self.clock = clock
        self.started_s = clock()
        return 0

    cdef int on_known(self) except -1:
        if self.problem is None:
            self.session.node.observe_publish(<double>self.clock() - self.started_s)
        if self.is_first:
            self.session.on_settled()
        return 0


def count_settled(list publishes):
    """Return how many of the oldest are settled."""
    cdef Py_ssize_t count = 0
    for publishing in publishes:
        if not (<Publishing>publishing).known:
            break
        count += 1
    return count


def encode_answers(list publishes, codec, refusal):
    """Return the answers to publishes that are settled, encoded, in order; some want none.

    `refusal` makes the event of an id and what went wrong.
    """
    cdef list answers = []
    cdef Publishing publishing
    encode_placed = codec.encode_placed
    for publishing in publishes:
        command = publishing.command
        if publishing.problem is not None:
            answer = refusal(command.id, publishing.problem)
            if answer is not None:
                answers.append(codec.encode(answer))
        elif command.id:
            answers.append(encode_placed(
                command.id, command.channel, publishing.epoch, publishing.offset, publishing.duplicate
            ))
    return answers


cdef class Route:
    """The way to one channel.  `namespace` is the channel's; its publishes need no permission."""

    def __init__(self, node, str channel, namespace, Numbering numbering):
        self.node = node
        self.node_options = node.options
        self.options = namespace.broker
        self.clock = node.loop.time
        self.numbering = numbering
        self.channel = channel
        self.max_bytes = node.options.max_publish_bytes

    @property
    def stands(self):
        """Whether the node still has the options with which this was made."""
        return self.node.options is self.node_options

    def begin(self, session, command):
        """Give a publish to the broker; None, and nothing was done, where the slow way has to be taken."""
        cdef Publishing publishing
        cdef bytes data
        if self.node.options is not self.node_options or command.key or command.data64 is not None:
            return None
        data = _bytes_of(command.data)
        if not 0 < PyBytes_GET_SIZE(data) <= self.max_bytes or not _is_json(data):
            return None
        publishing = Publishing.__new__(Publishing)
        publishing.begin(session, command, self.clock)
        try:
            publication = Publication(
                self.numbering.next(), data, self.node.wall_ms(), 0, False, session.client, session.user
            )
            self.node.broker.begin_publish(self.channel, publication, self.options, "", publishing)
        except Exception as problem:
            publishing.settle(problem)
        return publishing


cdef bytes _bytes_of(object raw):
    cdef Py_buffer view
    PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<const char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef bint _is_json(bytes data) except -1:
    """Tell whether `check_json` takes it."""
    try:
        if PyBytes_GET_SIZE(data) <= SHALLOW_BYTES:
            loads(data)
        else:
            check_json(data)
    except (JSONDecodeError, CommandError):
        return False
    return True


cdef class Together:
    """Publishes of an app service that are under way at once, each as `node.publish` would do it.

    What was found out of a channel holds for those that follow in it, while the node has the same options.
    """

    def __init__(self, node):
        self.node = node
        self.clock = node.loop.time
        self.outcomes = []

    def begin(self, str channel not None, bytes data not None, bint binary, str key, str exclude):
        """Give one to the broker."""
        cdef Publish one = Publish.__new__(Publish)
        one.together = self
        one.started_s = self.clock()
        self.outcomes.append(one)
        self.left += 1
        try:
            if self.node.options is not self.node_options or channel != self.channel:
                self.learn(channel)
            if PyBytes_GET_SIZE(data) > self.max_bytes:
                self.node.check_size(data)
            publication = Publication(
                self.numbering.next(), data, self.node.wall_ms(), 0, binary, "", "", exclude
            )
            self.node.broker.begin_publish(channel, publication, self.options, key, one)
        except Exception as problem:
            if not one.known:
                one.settle(problem)

    cdef int learn(self, str channel) except -1:
        self.channel = None
        self.options = self.node.check_publish(channel)
        self.node_options = self.node.options
        self.max_bytes = self.node_options.max_publish_bytes
        self.numbering = self.node.numbering
        self.channel = channel
        return 0

    def done(self):
        """Return a future that is resolved once it is known what became of all that was begun."""
        self.waits = self.node.loop.create_future()
        if not self.left:
            self.waits.set_result(None)
        return self.waits

    @property
    def results(self):
        """What became of each, in order: a PublishResult or a problem; once all that is known."""
        return [(<Publish>one).outcome for one in self.outcomes]

    cdef int on_one_known(self) except -1:
        self.left -= 1
        if not self.left and self.waits is not None and not self.waits.done():
            self.waits.set_result(None)
        return 0


cdef class Publish(Outcome):
    """One of them."""

    cdef int on_known(self) except -1:
        if self.problem is None:
            self.together.node.observe_publish(<double>self.together.clock() - self.started_s)
        return self.together.on_one_known()
