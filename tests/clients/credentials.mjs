// What the JavaScript client does with tokens and calls against a real gateway; the outcome is one line of JSON.
//
// node credentials.mjs '{"url": "...", "tokens": ["first", "second", ...], "bad": "..."}'

import { Client } from "../../clients/js/dist/index.js";

const { url, tokens, bad } = JSON.parse(process.argv[2]);
const WebSocket = globalThis.WebSocket ?? (await import("ws")).default;
const outcome = { clients: [], asked: 0, told: [] };

const client = new Client(url, { WebSocket, token: async () => tokens[outcome.asked++] ?? null });
client.on("status", (status) => {
  outcome.told.push(status.state);
  if (status.state === "online") outcome.clients.push(status.client);
});
client.connect();
outcome.sum = await client.call("add", { a: 1, b: 2 });
outcome.aborted = await client
  .call("hang", null, { timeout: 400, signal: AbortSignal.timeout(150) })
  .catch(({ code, unknown }) => [code, unknown]);
outcome.refused = await client.call("refuse").catch(({ code, message }) => [code, message]);

const heard = new Promise((resolve) => client.subscribe("room:1", ({ from }) => resolve(from.user)));
await client.publish("room:1", "hello");
outcome.user = await heard;
while (outcome.asked < 2) await new Promise((resolve) => setTimeout(resolve, 50));
await new Promise((resolve) => setTimeout(resolve, 2500)); // the first token has ended
outcome.after = await client.call("add", { a: 2, b: 2 });
client.close();

outcome.bad = await new Promise((resolve) => {
  const other = new Client(url, { WebSocket, token: bad });
  other.on("status", (status) => status.state === "offline" && resolve(status));
  other.connect();
});
process.stdout.write(`${JSON.stringify(outcome)}\n`);
process.exit(0);
