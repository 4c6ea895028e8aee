"""socketify, the Python binding of uWebSockets; fan-out by its own topics."""

from __future__ import annotations

from typing import Any

from bench.rivals.rival import python_rival

RIVAL = python_rival("socketify (uWebSockets)", __file__, "socketify")
_OPTIONS: dict[str, Any] = {
    "compression": 0,
    "max_payload_length": 1 << 24,
    "max_backpressure": 1 << 28,
    "idle_timeout": 0,
}


def serve() -> None:
    """Listen, print the port, and serve for ever."""
    from socketify import App, OpCode

    app = App()
    app.ws("/echo", {**_OPTIONS, "message": lambda ws, message, opcode: ws.send(message, opcode)})
    app.ws(
        "/publish",
        {**_OPTIONS, "message": lambda ws, message, opcode: app.publish("room", message, OpCode.TEXT)},
    )
    app.ws("/subscribe", {**_OPTIONS, "open": lambda ws: ws.subscribe("room")})
    app.listen({"host": "127.0.0.1", "port": 0}, lambda config: print(config.port, flush=True))
    app.run()


if __name__ == "__main__":
    serve()
