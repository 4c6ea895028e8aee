"""The load tool: `ringgate bench`, and what the project's own benchmarks measure with.

    _load       connections and the loop that serves them (compiled)
    _echo       the echo scenario; _fanout: that of fan-out; _payload: messages that can be recognised
    target      from a URL to an address and an upgrade request
    runs        carries out a scenario: open, warm up, measure, drain
    processes   CPU time and memory of the server, and of the load tool itself
    histogram   percentiles and the plot; report: what the user reads, and the verdict on the measurement

It knows the gateway's frames and errors, and nothing else of the gateway: any WebSocket server can be
measured.
"""
