// An app service in Express behind Ringgate: it answers hooks, hears notices, and publishes.  See README.md.
"use strict";

const crypto = require("node:crypto");
const express = require("express");

const SECRET = process.env.HOOK_SECRET ?? "only-for-trying-it-out";
const API = process.env.RINGGATE_API ?? "http://127.0.0.1:8001";

const app = express();
const orders = [];
const rooms = new Set();
const seen = new Set();

// Let requests of the gateway through, and no others (https://www.standardwebhooks.com).
function signed(request, response, next) {
  const id = request.get("webhook-id") ?? "";
  const stamp = Number(request.get("webhook-timestamp") ?? 0);
  if (!(Math.abs(Date.now() / 1000 - stamp) <= 300)) {
    return response.status(401).json({ error: "too old" });
  }
  const mac = crypto.createHmac("sha256", SECRET).update(`${id}.${stamp}.`).update(request.body);
  const expected = Buffer.from(`v1,${mac.digest("base64")}`);
  const given = (request.get("webhook-signature") ?? "").split(" ").map((text) => Buffer.from(text));
  if (!given.some((one) => one.length === expected.length && crypto.timingSafeEqual(one, expected))) {
    return response.status(401).json({ error: "not signed by the gateway" });
  }
  request.body = JSON.parse(request.body.toString());
  next();
}

app.use("/hooks", express.raw({ type: "application/json", limit: "1mb" }), signed);

// Answer a client's call; everybody else hears of it through a channel.
app.post("/hooks/call", async (request, response) => {
  const { method, payload } = request.body;
  if (method !== "order.place") {
    return response.json({ refuse: { code: "bad_request", message: "there is only order.place" } });
  }
  const number = orders.push(payload.item);
  const news = { channel: "orders", data: { number, item: payload.item }, key: `order-${number}` };
  const published = await fetch(`${API}/api/publish`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(news),
  });
  if (!published.ok) {
    return response.status(500).json({ error: "the order could not be told" });
  }
  response.json({ payload: { number } });
});

// Look at what a client wants to say in a chat: refuse it, or say it a little differently.
app.post("/hooks/publish", (request, response) => {
  const text = String(request.body.data.text);
  if (text.includes("spam")) {
    return response.json({ refuse: { message: "no spam here" } });
  }
  response.json({ data: { text: text.trim(), by: request.body.user ?? "somebody" } });
});

// Keep track of the rooms that somebody is in.  A notice may come twice, with the same id.
app.post("/hooks/notices", (request, response) => {
  const { id, type, channel } = request.body;
  if (!seen.has(id)) {
    seen.add(id);
    if (type === "channel_occupied") rooms.add(channel);
    if (type === "channel_vacated") rooms.delete(channel);
  }
  response.status(204).end();
});

app.get("/rooms", (request, response) => response.json([...rooms].sort()));

const server = app.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
