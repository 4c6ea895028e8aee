"""The broadcast ring: a message is encoded once, a subscriber is a cursor.

A ring holds the outgoing frames of one channel in one encoding, back to back in a circular
buffer.  Positions are absolute byte counts, so a cursor is one number.  Publishing
appends and asks for one flush this turn of the loop; the flush does one send per
subscriber, straight from the ring's memory, with everything that was appended.

It knows sinks (things with a socket that can be blocked), but neither WebSocket connections
nor brokers nor encodings.  What always holds:

* a sink gets whole frames, in order, each once: a frame taken in part is finished
  by `Sink.hand_over` before anything else is sent, and only then is the sink blocked;
* an open cursor never stands below `tail`; who is about to be overwritten meets the
  policy (disconnect, skip, latest), and every frame dropped is counted;
* the list of cursors changes only in attach() and detach(), never inside a flush.
"""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc

from gateway._encode cimport write_header
from gateway._sink cimport Sink, iovec, send_now, ssize
from gateway.hub._cursor cimport Cursor
from gateway.hub._framelog cimport HEADER_BYTES, RSV1, FrameLog

cdef enum:
    DISCONNECT = 0
    SKIP = 1
    LATEST = 2
    LEAST_BOUND = 1024
    HAND_OVER_BYTES = 65536     # at a time, to a sink that has no socket of its own
    OFFERS = 64                 # sends in a row without the GIL
    PIECES = 64                 # of one sendmsg

cdef uint64_t NO_LIMIT = <uint64_t>-1

POLICIES = {"disconnect": DISCONNECT, "skip": SKIP, "latest": LATEST}


cdef class HubStats:
    """Counters of every ring that was made with it.  Frames and bytes, never reset."""


cdef class Flusher:
    """Runs the flushes of dirty rings, once per turn of the loop.

    `call_soon(callback)` is the loop's own.  After `sends_per_turn` sends others on the loop have
    their turn, and the rest waits for the next one.
    """

    def __init__(self, call_soon, *, uint64_t sends_per_turn=1024):
        self.call_soon = call_soon
        self.sends_per_turn = sends_per_turn
        self.dirty = []

    cdef int mark(self, Ring ring) except -1:
        if not ring.dirty:
            ring.dirty = True
            self.dirty.append(ring)
            if not self.scheduled:
                self.scheduled = True
                self.call_soon(self.run)
        return 0

    def run(self):
        """Flush the dirty rings, in the order in which they became dirty, as far as one turn goes.

        A ring that is not finished goes to the end of the line.
        """
        cdef Ring ring
        cdef uint64_t left = self.sends_per_turn
        cdef Py_ssize_t served = 0
        cdef list rings = self.dirty
        self.dirty = []
        for ring in rings:
            if left == 0:
                break
            served += 1
            ring.dirty = False
            left -= ring.flush(left, len(rings) > 1)
        self.dirty = rings[served:] + self.dirty
        self.scheduled = bool(self.dirty)
        if self.scheduled:
            self.call_soon(self.run)

    @staticmethod
    def catch_up(Sink sink not None):
        """Send to a sink that is no longer blocked what its cursors have not had yet."""
        cdef Cursor cursor
        for cursor in sink.cursors:
            if sink.blocked or sink.closed:
                return
            (<Ring>cursor.ring).drain(cursor)


cdef class Ring(FrameLog):
    """One channel's outgoing frames in one encoding.

    `bound_bytes` (rounded down to a power of two, at least 1,024) bounds its memory;
    `retain_bytes` of what everybody has had are kept for resume.  `policy` is one of
    POLICIES.  `newest` is the offset of the channel's newest publication.
    `encode_gap(cursor)` returns the payload of the event that announces `cursor`'s gap, and
    its opcode.
    """

    def __cinit__(self):
        self.floor = self.head

    def __init__(self, *, bound_bytes, retain_bytes, policy, newest, Flusher flusher not None,
                 HubStats stats not None, encode_gap):
        if bound_bytes < LEAST_BOUND:
            raise ValueError("a ring needs a bound of at least 1024 bytes")
        self.bound = <uint64_t>1 << (<int>bound_bytes.bit_length() - 1)
        self.retain = min(retain_bytes, self.bound // 2)
        self.policy = POLICIES[policy]
        self.covered = self.newest = newest
        self.flusher = flusher
        self.stats = stats
        self.encode_gap = encode_gap

    def __dealloc__(self):
        free(self.cursors)

    # -- subscribers ------------------------------------------------------------------

    def attach(self, Sink sink not None):
        """Return a new cursor of `sink` at the head: it gets what is appended from now on."""
        cdef Cursor cursor = Cursor.__new__(Cursor)
        cdef Py_ssize_t capacity
        cdef void** cursors
        if self.cursor_count == self.cursors_capacity:
            capacity = max(4, self.cursors_capacity * 2)
            cursors = <void**>realloc(self.cursors, capacity * sizeof(void*))
            if cursors == NULL:
                raise MemoryError
            self.cursors = cursors
            self.cursors_capacity = capacity
        cursor.sink = sink
        cursor.ring = self
        cursor.position = self.head
        cursor.index = self.cursor_count
        sink.cursors.append(cursor)
        self.cursors[self.cursor_count] = <void*>cursor
        self.cursor_count += 1
        return cursor

    def detach(self, Cursor cursor not None):
        """Forget a cursor.  It is sent nothing more.  Idempotent."""
        cdef Cursor last
        if cursor.ring is not self:
            return
        self.cursor_count -= 1
        last = <Cursor>self.cursors[self.cursor_count]
        self.cursors[cursor.index] = <void*>last
        if cursor.index < self.next_cursor <= last.index:
            self.pass_head = 0                      # it moved to where this pass has been already
        last.index = cursor.index
        cursor.ring = None
        cursor.sink.cursors.remove(cursor)
        if self.cursor_count < self.cursors_capacity // 4 and self.cursors_capacity > 16:
            self.cursors_capacity //= 2
            self.cursors = <void**>realloc(self.cursors, self.cursors_capacity * sizeof(void*))

    def send_pending(self, Cursor cursor not None):
        """Send a cursor what it has not had yet, at once, as far as its sink takes it."""
        if cursor.ring is self:
            self.drain(cursor)

    def seek(self, Cursor cursor not None, uint64_t offset):
        """Set a cursor back so that its next publication is the one after `offset`.

        Returns False, and changes nothing, when the ring does not cover that place.
        """
        if offset < self.covered or offset > self.newest:
            return False
        cursor.position = self.first_after(offset)
        self.counted_from = self.counted_to = 0     # places before the tail may have been written anew
        cursor.holes = None
        if cursor.position != self.head:
            self.floor = min(self.floor, cursor.position)
            self.flusher.mark(self)
        return True

    # -- publications -----------------------------------------------------------------

    def append(self, int opcode, bytes payload not None, uint64_t offset=0):
        """Append one frame and have it sent in this turn of the loop.

        `opcode` with RSV1 added says that the payload is deflated.
        `offset` is the publication's, one more than the newest, or 0 for an event that is
        not numbered.  Raises ValueError when the frame does not fit into the bound.
        """
        cdef char header[HEADER_BYTES]
        cdef bint rsv1 = (opcode & RSV1) != 0
        cdef uint64_t header_bytes = write_header(header, opcode & 15, len(payload), True, rsv1)
        cdef uint64_t n = header_bytes + <uint64_t>len(payload)
        if n > self.bound:
            raise ValueError("the frame is larger than the ring's bound")
        if self.cursor_count == 0 and self.retain == 0:
            self.drop_until(self.head)
            self.covered = self.newest = max(self.newest, offset)
            return
        self.make_room(n)
        self.write(header, header_bytes, payload, offset)
        self.stats.frames_appended += 1
        self.stats.bytes_appended += n
        if self.cursor_count:
            self.flusher.mark(self)
        else:
            self.floor = self.head

    def tidy(self, bint idle):
        """Give memory back: all of it when `idle`, else some of what a burst left behind.

        Nothing that an open cursor has not had is touched.  Returns whether the ring holds
        no memory for frames any more.
        """
        cdef uint64_t keep = 0 if idle else min(self.retain, self.head - self.tail)
        if self.capacity == 0:
            return True
        self.find_floor()
        self.drop_until(min(self.floor, self.head - keep))
        if self.head == self.tail and (idle or self.retain == 0):
            self.forget()
            return True
        self.shrink()
        return False

    def lag(self):
        """Return (bytes that the slowest open cursor is behind, number of cursors that are behind)."""
        cdef uint64_t worst = 0
        cdef Py_ssize_t i, behind = 0
        cdef Cursor cursor
        for i in range(self.cursor_count):
            cursor = <Cursor>self.cursors[i]
            if cursor.position != self.head and not cursor.sink.closed:
                behind += 1
                worst = max(worst, self.head - cursor.position)
        return worst, behind

    # -- room -------------------------------------------------------------------------

    cdef int make_room(self, uint64_t n) except -1:
        """See that `n` bytes and one entry can be appended."""
        if self.head - self.tail + n > self.capacity:
            if self.retain < self.head - self.tail:
                # What everybody has had goes first; the floor is looked for only when it must be.
                if self.floor < self.head - self.retain:
                    self.find_floor()
                self.drop_until(min(self.floor, self.head - self.retain))
            self.grow(n)
            if self.head - self.tail + n > self.capacity:
                self.apply_policy(n)
        return self.grow_entries(1)

    cdef void find_floor(self) noexcept:
        cdef Py_ssize_t i
        cdef uint64_t floor = self.head
        cdef Cursor cursor
        for i in range(self.cursor_count):
            cursor = <Cursor>self.cursors[i]
            if cursor.position < floor and not cursor.sink.closed:
                floor = cursor.position
        self.floor = floor

    # -- slow consumers ---------------------------------------------------------------

    cdef int apply_policy(self, uint64_t n) except -1:
        """The ring is at its bound: send what can be sent, then move who is still in the way."""
        cdef uint64_t keep_from, target
        cdef Py_ssize_t i
        cdef Cursor cursor
        self.next_cursor = 0
        self.flush(NO_LIMIT, False)
        self.find_floor()
        keep_from = self.frame_start(self.head + n - self.capacity)
        if self.floor < keep_from:
            # Half a ring is cleared at once, so that a slow subscriber is not met at every append.
            target = self.frame_start(self.head + n - self.capacity // 2)
            for i in range(self.cursor_count):
                cursor = <Cursor>self.cursors[i]
                cursor.next_stop()              # frames that it must not get are no loss
                if cursor.position < keep_from and not cursor.sink.closed:
                    self.leave_behind(cursor, target)
            self.find_floor()
        self.drop_until(keep_from)
        return 0

    cdef int leave_behind(self, Cursor cursor, uint64_t target) except -1:
        """Treat one cursor that is in the way by the policy; count every frame it loses."""
        cdef uint64_t index = self.index_at(cursor.position), last, lost = 0
        if self.policy != SKIP:
            target = self.head
        last = self.index_at(target)
        while index < last:
            if not cursor.excludes(self.entry(index).start):
                lost += 1
                if self.entry(index).numbered:
                    if cursor.gap_from == 0:
                        cursor.gap_from = self.entry(index).offset
                    cursor.gap_to = self.entry(index).offset
            index += 1
        if self.policy == DISCONNECT:
            self.stats.dropped_disconnect += lost
            self.stats.slow_disconnects += 1
            cursor.sink.too_slow(cursor)
            return 0
        if self.policy == LATEST:
            self.stats.dropped_latest += lost
        else:
            self.stats.dropped_skip += lost
        cursor.gapped = True
        cursor.position = target
        if cursor.holes is not None:
            cursor.holes = [(max(low, target), high) for low, high in cursor.holes if high > target] or None
        return 0

    # -- sending ----------------------------------------------------------------------

    cdef uint64_t flush(self, uint64_t limit, bint together) except? 0:
        """Offer the cursors all that they have not had, in one send each; return how many it took.

        Ends after `limit` sends and goes on there in the next turn.  With `together`, what other
        rings have for the same sink leaves in the same send.
        """
        cdef Offer[OFFERS] offers
        cdef int count = 0
        cdef uint64_t sends = 0, at
        cdef Cursor cursor
        cdef Sink sink
        if self.next_cursor == 0:
            self.pass_head = self.head
        while self.next_cursor < self.cursor_count and sends < limit:
            cursor = <Cursor>self.cursors[self.next_cursor]
            self.next_cursor += 1
            sink = cursor.sink
            if cursor.position == self.head or sink.blocked or sink.closed:
                continue
            sends += 1
            at = cursor.position & (self.capacity - 1)
            if together and len(sink.cursors) > 1:
                send_together(sink)
            elif (not sink.direct or sink.corked or cursor.gapped or cursor.holes is not None
                    or at + (self.head - cursor.position) > self.capacity):
                self.drain(cursor)
            else:
                offers[count].cursor = <void*>cursor
                offers[count].fd = sink.fd
                offers[count].data = self.data + at
                offers[count].n = self.head - cursor.position
                count += 1
                if count == OFFERS:
                    self.send_offers(offers, count)
                    count = 0
        self.send_offers(offers, count)
        if self.next_cursor < self.cursor_count:
            self.flusher.mark(self)
        else:
            self.next_cursor = 0
            if self.pass_head != self.head:
                self.flusher.mark(self)
        return sends

    cdef int send_offers(self, Offer* offers, int count) except -1:
        """Send to so many sockets in a row without the GIL, straight from this ring's memory."""
        cdef int i
        cdef Cursor cursor
        with nogil:
            for i in range(count):
                offers[i].taken = send_now(offers[i].fd, offers[i].data, offers[i].n)
        for i in range(count):
            cursor = <Cursor>offers[i].cursor
            self.advance(cursor, offers[i].taken, offers[i].n)
            if cursor.position != self.head:
                self.drain(cursor)
        return 0

    cdef int drain(self, Cursor cursor) except -1:
        """Send one cursor all that it has not had, until its sink is blocked."""
        cdef Sink sink = cursor.sink
        cdef uint64_t end
        cdef iovec[2] pieces
        cdef int count
        cdef ssize taken
        if sink.blocked or sink.closed:
            return 0
        if sink.corked:
            sink.uncork()
        if cursor.gapped and not sink.blocked and not sink.closed:
            self.send_gap(cursor)
        while cursor.position != self.head and not sink.blocked and not sink.closed:
            end = cursor.next_stop()
            if end == cursor.position:
                continue                            # it stood before a hole, and is behind it now
            if sink.fd < 0:
                self.hand_over(cursor, self.frame_start(min(end, cursor.position + HAND_OVER_BYTES)))
                continue
            count = self.pieces_of(cursor.position, end, pieces)
            if count == 1:
                taken = sink.offer(<const char*>pieces[0].iov_base, pieces[0].iov_len)
            else:
                taken = sink.offer_pieces(pieces, count)
            self.advance(cursor, taken, end - cursor.position)
        return 0

    cdef int advance(self, Cursor cursor, ssize taken, uint64_t offered) except -1:
        """Move a cursor past what its sink took; finish a frame that was taken in part."""
        self.stats.sends += 1
        if taken < 0:
            cursor.sink.broken()
            return 0
        self.move(cursor, cursor.position + taken)
        if <uint64_t>taken < offered:
            self.stats.blocks += 1
            self.hand_over(cursor, self.end_of(self.find(cursor.position)))
        return 0

    cdef int hand_over(self, Cursor cursor, uint64_t end) except -1:
        """Queue what lies between a cursor and `end`, the end of a frame, behind its socket."""
        cdef uint64_t at = cursor.position & (self.capacity - 1)
        cdef uint64_t n = end - cursor.position, first = min(n, self.capacity - at)
        self.move(cursor, end)
        cursor.sink.hand_over(self.data + at, first)
        if n > first:
            cursor.sink.hand_over(self.data, n - first)
        return 0

    cdef void move(self, Cursor cursor, uint64_t position) noexcept:
        """Set a cursor's place after bytes were sent, and count them and the frames they were."""
        if cursor.position != self.counted_from or position != self.counted_to:
            self.counted_from = cursor.position
            self.counted_to = position
            self.counted = self.index_at(position) - self.index_at(cursor.position)
        self.stats.bytes_sent += position - cursor.position
        self.stats.frames_delivered += self.counted
        cursor.position = position

    cdef int send_gap(self, Cursor cursor) except -1:
        """Tell a subscriber what it lost, before anything that follows."""
        cdef char header[HEADER_BYTES]
        cdef ssize taken, n
        opcode, payload = self.encode_gap(cursor)
        frame = header[:write_header(header, opcode & 15, len(payload), True, (opcode & RSV1) != 0)] + payload
        n = len(frame)
        cursor.gapped = False
        cursor.gap_from = cursor.gap_to = 0
        self.stats.gaps += 1
        taken = cursor.sink.offer(<const char*>frame, n) if cursor.sink.fd >= 0 else 0
        if taken < 0:
            cursor.sink.broken()
        elif taken < n:
            cursor.sink.hand_over(<const char*>frame + taken, n - taken)
        return 0


cdef int send_together(Sink sink) except -1:
    """Send what all rings have for one sink, in one system call where they are few pieces."""
    cdef iovec[PIECES] pieces
    cdef void* owners[PIECES]
    cdef int count = 0, i
    cdef uint64_t at, n
    cdef ssize taken, mine
    cdef Cursor cursor
    cdef Ring ring
    if sink.corked:
        sink.uncork()
    for cursor in sink.cursors:
        ring = <Ring>cursor.ring
        n = ring.head - cursor.position
        if n == 0:
            continue
        if sink.blocked or sink.closed:
            return 0
        at = cursor.position & (ring.capacity - 1)
        if (sink.fd < 0 or cursor.gapped or cursor.holes is not None
                or at + n > ring.capacity or count == PIECES):
            ring.drain(cursor)
            continue
        pieces[count].iov_base = ring.data + at
        pieces[count].iov_len = n
        owners[count] = <void*>cursor
        count += 1
    if count == 0 or sink.blocked or sink.closed:
        return 0
    taken = sink.offer_pieces(pieces, count)
    if taken < 0:
        return sink.broken()
    for i in range(count):
        cursor = <Cursor>owners[i]
        mine = min(taken, <ssize>pieces[i].iov_len)
        taken -= mine
        if mine or i == 0:
            (<Ring>cursor.ring).advance(cursor, mine, pieces[i].iov_len)
        if cursor.position != cursor.ring.head:
            (<Ring>cursor.ring).drain(cursor)
    return 0
