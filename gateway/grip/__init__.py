"""GRIP: routes whose services speak WebSocket over HTTP (`application/websocket-events`).

The gateway has the clients' WebSockets; what a client says is posted to the service as events, and the
answers hold what it is told.  Channels are somebody else's: a `Hearing` is handed to it.  It knows
connections and upstreams, but no sessions, no hub and no brokers.  docs/grip.md is the page about it.
"""
