"""One timer for all connections: a hashed wheel of deadlines.

Each item has one place on the wheel.  Moving a deadline costs two set operations, and
one callback of the loop serves every connection, not a timer each.  It knows nothing of
connections beyond their attribute `wheel_slot` (the wheel's note; -1: not on it), which must be
theirs alone to hand in again.  Times are the loop's monotonic seconds.
"""


cdef class TimerWheel:
    """Items by the time at which they want to be looked at.

    A deadline further away than `slots * tick_s` is met earlier: whoever is looked at too
    early says again when it wants to be looked at next.  Nothing is met before its
    time otherwise, or more than one tick late.
    """

    def __init__(self, *, double now, double tick_s=0.25, int slots=512):
        self.tick_s = tick_s
        self._slots = [set() for _ in range(slots)]
        self._ticks = self._tick_of(now)

    cdef long long _tick_of(self, double time_s) noexcept:
        return <long long>(time_s / self.tick_s)

    def schedule(self, item, double due):
        """Have `item` looked at when `due` has passed; its earlier deadline is forgotten."""
        item.wheel_slot = self.place(item, item.wheel_slot, due)

    cdef int place(self, object item, int slot, double due) except -2:
        cdef long long ticks = min(max(self._tick_of(due) + 1, self._ticks + 1),
                                   self._ticks + <long long>len(self._slots) - 1)
        cdef int wanted = ticks % <long long>len(self._slots)
        if slot != wanted:
            if slot >= 0:
                (<set>self._slots[slot]).discard(item)
            (<set>self._slots[wanted]).add(item)
        return wanted

    def remove(self, item):
        """Take `item` off the wheel.  Idempotent."""
        cdef int slot = item.wheel_slot
        if slot >= 0:
            (<set>self._slots[slot]).discard(item)
            item.wheel_slot = -1

    def due(self, double now):
        """Yield, and take off the wheel, the items whose time has come."""
        cdef long long last = self._tick_of(now)
        cdef set slot
        for _ in range(min(last - self._ticks, <long long>len(self._slots))):
            self._ticks += 1
            slot = self._slots[self._ticks % <long long>len(self._slots)]
            while slot:
                item = slot.pop()
                item.wheel_slot = -1
                yield item
            slot.clear()                            # an empty set keeps the memory of its fullest time
        self._ticks = max(last, self._ticks)

    def __len__(self):
        return sum(map(len, self._slots))
