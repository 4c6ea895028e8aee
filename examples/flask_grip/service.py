"""A chat in Flask behind Ringgate, by GRIP: clients speak WebSocket, this service HTTP.  See README.md."""

from __future__ import annotations

import os
import struct

from flask import Flask, abort, request
from flask.typing import ResponseReturnValue
from gripcontrol import (
    GripPubControl,
    WebSocketContext,
    WebSocketEvent,
    WebSocketMessageFormat,
    decode_websocket_events,
    encode_websocket_events,
    validate_sig,
)
from pubcontrol import Item

KEY = os.environ.get("GRIP_KEY", "only-for-trying-it-out-choose-yours")
API = os.environ.get("RINGGATE_API", "http://127.0.0.1:8001")
EVENTS = "application/websocket-events"

app = Flask(__name__)
gateway = GripPubControl({"control_uri": API, "control_iss": "chat", "key": KEY})


@app.post("/chat/<room>")
def chat(room: str) -> ResponseReturnValue:
    """Hear what a client did, and say what it gets."""
    if not validate_sig(request.headers.get("Grip-Sig", ""), KEY):
        abort(403)  # not the gateway
    meta = {"name": request.headers.get("Meta-Name", "")}
    ws = WebSocketContext(request.headers["Connection-Id"], meta, decode_websocket_events(request.get_data()))
    headers = {"Content-Type": EVENTS}
    events = []
    if ws.is_opening():
        name = request.args.get("name", "somebody")
        headers |= {"Sec-WebSocket-Extensions": "grip", "Set-Meta-Name": name}
        events.append(WebSocketEvent("OPEN"))
        ws.subscribe(room)
        ws.send(f"welcome to {room}, {name}")
        say(room, f"{name} is here")
    converse(ws, room)
    events += ws.out_events
    if ws.closed:
        events.append(WebSocketEvent("CLOSE", struct.pack(">H", ws.out_close_code or 1000)))
    return encode_websocket_events(events), headers


def converse(ws: WebSocketContext, room: str) -> None:
    """Answer every message of one request."""
    while ws.can_recv():
        try:
            message = ws.recv()
        except OSError:  # the client went without a word
            message = None
        if message is None:
            say(room, f"{ws.meta['name']} is gone")
            ws.close()
            return
        if message == "/leave":
            ws.unsubscribe(room)
            ws.send("you hear nothing more")
        else:
            say(room, f"{ws.meta['name']}: {message}")


def say(room: str, text: str) -> None:
    """Tell everybody in a room, wherever their connections are."""
    gateway.publish(room, Item(WebSocketMessageFormat(text)))


@app.post("/announce/<room>")
def announce(room: str) -> ResponseReturnValue:
    """Tell a room something that no client said."""
    say(room, request.get_data(as_text=True))
    return "", 204


@app.post("/close/<room>")
def close(room: str) -> ResponseReturnValue:
    """Send everybody in a room away."""
    gateway.publish(room, Item(WebSocketMessageFormat(action="close", code=1000, reason="closed")))
    return "", 204
