// A crowd of JavaScript clients in one process: node crowd.mjs '{"url": "...", "size": 150, "groups": 10}'
//
// Each hears the channel `all`, and one of the `groups` channels `group:N`.  One command a line in, one answer a
// line out: {"op": "report"} tells how many are subscribed, and when each came back.  It ends with its input.

import { createInterface } from "node:readline";
import { Client } from "../../clients/js/dist/index.js";

const { url, size, groups } = JSON.parse(process.argv[2]);
const WebSocket = globalThis.WebSocket ?? (await import("ws")).default;

function member(number) {
  const client = new Client(url, { WebSocket });
  const self = { client, heard: {}, lost: [], resumed: {}, backAt: 0 };
  client.on("status", ({ state }) => state !== "online" && (self.backAt = 0));
  self.handles = ["all", `group:${number % groups}`].map((channel) => {
    self.heard[channel] = [];
    self.resumed[channel] = 0;
    const handle = client.subscribe(channel, ({ data }) => self.heard[channel].push(data));
    handle.on("lost", (what) => self.lost.push(what));
    handle.on("subscribed", ({ resumed }) => {
      self.resumed[channel] += resumed;
      self.backAt = Date.now() / 1000;
    });
    return handle;
  });
  client.connect();
  return self;
}

const crowd = Array.from({ length: size }, (_, number) => member(number));
const back = ({ handles, resumed }) => handles.every(({ active, channel }) => active && resumed[channel]);
const report = () => ({
  active: crowd.filter(({ handles }) => handles.every(({ active }) => active)).length,
  backs: crowd.filter(back).map(({ backAt }) => backAt),
  newest: Math.min(...crowd.flatMap(({ heard }) => Object.values(heard).map((data) => data.at(-1) ?? 0))),
  // What every client heard on every channel has to be the same: 1, 2, 3, ...
  heard: [...new Set(crowd.flatMap(({ heard }) => Object.values(heard).map((data) => data.join(" "))))],
  lost: crowd.flatMap(({ lost }) => lost),
});

const lines = createInterface({ input: process.stdin });
lines.on("line", () => process.stdout.write(`${JSON.stringify(report())}\n`));
lines.on("close", () => process.exit(0));
