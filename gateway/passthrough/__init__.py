"""Pass-through: a client's WebSocket, handed to an upstream that speaks WebSocket itself.

The edge has checked the client's handshake before (origin, limits, TLS); what passes is in
`connection/_tunnel.pyx`.  It knows connections and upstreams, but no channels, sessions or brokers.
"""
