// How an application in TypeScript uses the package, as it is installed: every part of its interface, and, behind
// `@ts-expect-error`, what the types have to refuse.  It is compiled by a test, and never run.

import {
  Client,
  CLOSE_CODES,
  DEFAULTS,
  ERROR_CODES,
  json,
  RinggateError,
  type Codec,
  type ErrorCode,
  type History,
  type Member,
  type Message,
  type Position,
  type Status,
  type Subscription,
} from "ringgate";
import { msgpack } from "ringgate/msgpack";
import { SharedState, state } from "ringgate/state";
import { RinggateStatus } from "ringgate/status";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>) => undefined;

const codecs: Codec[] = [json, msgpack];
const client = new Client(() => "/ws", {
  token: async () => (await fetch("/token")).text(),
  codec: codecs[0]!,
  WebSocket: globalThis.WebSocket,
  ...DEFAULTS,
  backoffMost: 2 * DEFAULTS.backoffMost,
  random: Math.random,
});
new Client("ws://127.0.0.1:8000/ws", { token: "T" }).connect().close();
new Client("/ws", { token: () => null });

const end: () => void = client.on("status", (status) => {
  same<typeof status, Status>(true);
  if (status.state === "reconnecting") status.seconds.toFixed();
  if (status.state === "online") status.client.length + (status.user?.length ?? 0);
  if (status.state === "offline") console.log(status.code, status.reason);
  // @ts-expect-error: only while reconnecting
  status.seconds;
});
end();
client.on("subscription", (handle) => same<typeof handle, Subscription>(true));
client.on("error", (error) => same<typeof error, RinggateError>(true));
// @ts-expect-error: there is no such event
client.on("open", () => undefined);
// @ts-expect-error: a number of milliseconds
new Client("/ws", { backoffFirst: "1s" });
// @ts-expect-error: a name of before
new Client("/ws", { queue: 5 });

const position: Position = { epoch: "e", offset: 1 };
const chat = client.subscribe(
  "chat:1",
  (message) => {
    same<typeof message, Message>(true);
    // @ts-expect-error: the application has to look at it
    message.data.text;
  },
  { presence: true, since: position, resume: false, token: async () => "T" },
);
chat.on("members", (members) => same<typeof members, ReadonlyMap<string, Member>>(true));
chat.on("lost", ({ reason, from, to }) => console.log(reason, from, to));
chat.on("ended", ({ code, retry, unknown }) => console.log(code, retry, unknown));
chat.on("subscribed", ({ resumed }) => same<typeof resumed, boolean>(true));
chat.on("join", ({ client, user }) => console.log(client, user));
client.direct.on("message", ({ data }) => same<typeof data, unknown>(true));
// @ts-expect-error: it cannot be set
chat.position = null;
chat.close();

const { signal } = new AbortController();
const published: { epoch: string; offset: number; duplicate?: boolean } = await client.publish("chat:1", { text: "" });
await client.publish("chat:1", new Uint8Array(2), { key: "order-17", ttl: 0, signal });
const sum = await client.call<number>("add", { a: 1 }, { timeout: 500, repeat: true, signal });
same<typeof sum, number>(true);
const answer = await client.call("add");
same<typeof answer, unknown>(true);
const members: Member[] = await client.presence("chat:1", signal);
const history: History = await client.history("chat:1", { limit: 5, before: 9, signal });
console.log(published, members, history.publications[0]?.offset, history.complete, client.queued, client.settings.ttl);
client.wake();

const shared = state(client, "board:1", { token: "T" });
same<typeof shared, SharedState>(true);
shared.on("change", (value) => console.log(value));
shared.on("conflict", ({ paths, mine, theirs, from, drop }) => (console.log(paths, mine, theirs, from), drop()));
const version: number = await shared.update({ notes: { a: null } });
await shared.update((value) => ({ before: value }));
console.log(version, shared.value, shared.confirmed.version, shared.pending);
// @ts-expect-error: what JSON cannot hold
void shared.update({ at: () => 1 });

const toast = document.querySelector("ringgate-status")!;
same<typeof toast, RinggateStatus>(true);
toast.client = client;

const code: ErrorCode = "permission_denied";
const known: boolean = code in ERROR_CODES && 4001 in CLOSE_CODES;
try {
  await client.publish("chat:1", known);
} catch (error) {
  if (error instanceof RinggateError && error.code === "expired") console.log(error.message);
}
