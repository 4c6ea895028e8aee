# One timer for all connections.  See _wheel.pyx.


cdef class TimerWheel:
    cdef readonly double tick_s
    cdef list _slots
    cdef long long _ticks

    cdef long long _tick_of(self, double time_s) noexcept
    # Have `item`, which stands in `slot` (-1: nowhere), looked at when `due` has passed; its new slot.
    cdef int place(self, object item, int slot, double due) except -2
