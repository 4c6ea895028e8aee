"""An app service in FastAPI behind Ringgate: answers hooks, hears notices, publishes.  See README.md."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request

SECRET = os.environ.get("HOOK_SECRET", "only-for-trying-it-out").encode()
API = os.environ.get("RINGGATE_API", "http://127.0.0.1:8001")

app = FastAPI()
gateway = httpx.AsyncClient(base_url=API)
orders: list[str] = []
rooms: set[str] = set()
seen: set[str] = set()


async def signed(request: Request) -> dict[str, Any]:
    """Return the body of a request of the gateway; refuse any other (https://www.standardwebhooks.com)."""
    body = await request.body()
    id_, stamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "0")
    if not stamp.isdecimal() or abs(time.time() - int(stamp)) > 300:
        raise HTTPException(401, "too old")
    digest = hmac.digest(SECRET, f"{id_}.{stamp}.".encode() + body, hashlib.sha256)
    expected = "v1," + base64.b64encode(digest).decode()
    given = request.headers.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(expected, signature) for signature in given):
        raise HTTPException(401, "not signed by the gateway")
    decoded: dict[str, Any] = await request.json()
    return decoded


Signed = Annotated[dict[str, Any], Depends(signed)]


@app.post("/hooks/call")
async def call(question: Signed) -> dict[str, Any]:
    """Answer a client's call; everybody else hears of it through a channel."""
    if question["method"] != "order.place":
        return {"refuse": {"code": "bad_request", "message": "there is only order.place"}}
    orders.append(question["payload"]["item"])
    number = len(orders)
    news = {"channel": "orders", "data": {"number": number, "item": orders[-1]}, "key": f"order-{number}"}
    (await gateway.post("/api/publish", json=news)).raise_for_status()
    return {"payload": {"number": number}}


@app.post("/hooks/publish")
async def publish(question: Signed) -> dict[str, Any]:
    """Look at what a client wants to say in a chat: refuse it, or say it a little differently."""
    text = str(question["data"]["text"])
    if "spam" in text:
        return {"refuse": {"message": "no spam here"}}
    return {"data": {"text": text.strip(), "by": question.get("user", "somebody")}}


@app.post("/hooks/notices", status_code=204)
async def notice(what: Signed) -> None:
    """Keep track of the rooms that somebody is in.  A notice may come twice, with the same id."""
    if what["id"] in seen:
        return
    seen.add(what["id"])
    if what["type"] == "channel_occupied":
        rooms.add(what["channel"])
    elif what["type"] == "channel_vacated":
        rooms.discard(what["channel"])


@app.get("/rooms")
async def list_rooms() -> list[str]:
    """Return the rooms that somebody is in."""
    return sorted(rooms)
