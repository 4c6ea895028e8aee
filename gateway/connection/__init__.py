"""One socket: its opening handshake, its edge protocol and its keepalive.

Knows bytes, frames and HTTP heads; knows nothing of channels, sessions, brokers or Redis.
"""
