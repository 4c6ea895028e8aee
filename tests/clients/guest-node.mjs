// A guest in Node: node guest-node.mjs '{"urls": [...], "channel": "...", "msgpack": false, "ws": false}'
//
// One command a line in, one answer a line out: {"op": "publish", "text"}, {"op": "report"}.  It ends with its input.

import { createInterface } from "node:readline";
import { Client } from "../../clients/js/dist/index.js";
import { msgpack } from "../../clients/js/dist/msgpack.js";
import { state } from "../../clients/js/dist/state.js";
import { make } from "./guest.mjs";

const settings = JSON.parse(process.argv[2]);
// Its own class of sockets, unless that of the package `ws` is asked for.
const WebSocket = settings.ws ? (await import("ws")).default : globalThis.WebSocket;
const guest = make({ Client, state, WebSocket, codec: settings.msgpack ? msgpack : undefined, ...settings });

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { op, text } = JSON.parse(line);
  const answer = op === "publish" ? (guest.publish(text), {}) : guest.report();
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
lines.on("close", () => process.exit(0));
