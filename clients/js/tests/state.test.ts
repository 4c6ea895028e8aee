import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { merge, type Json } from "../src/merge-patch.js";
import { state, type Conflict } from "../src/state.js";
import { begin, failure, FakeSocket, finish, nextConnection, online, pass } from "./fake.js";
import { dice, randomJson, type Dice } from "./random.js";

beforeEach(begin);
afterEach(finish);

const update = () => FakeSocket.last.command("update");
const patched = (version: number, patch: Json, client = "c9") =>
  FakeSocket.last.say({ type: "patch", channel: "board:1", version, id: `p${version}`, patch, from: { client }, time: 0 });

/** A board that is at version 1 with {n: 1}. */
function board() {
  const { client } = online();
  const shared = state(client, "board:1");
  const shown: Json[] = [];
  const conflicts: Conflict[] = [];
  shared.on("change", (value) => shown.push(value));
  shared.on("conflict", (conflict) => conflicts.push(conflict));
  FakeSocket.last.confirm("board:1", { offset: 1 });
  FakeSocket.last.say({ type: "state", channel: "board:1", epoch: "e", version: 1, data: { n: 1 } });
  return { client, shared, shown, conflicts };
}

const stale = (version: number, data: Json) =>
  FakeSocket.last.say({
    type: "error", id: update().id, code: "stale_version", message: "", retry: false, epoch: "e", version, data,
  });

describe("a shared state", () => {
  it("begins with what is there, and follows the patches", () => {
    const { shared, shown } = board();
    patched(2, { m: 2 });
    patched(2, { m: 99 });
    patched(4, { hole: true });
    expect(shown).toEqual([{ n: 1 }, { n: 1, m: 2 }]);
    expect(shared.confirmed).toEqual({ value: { n: 1, m: 2 }, version: 2 });
  });

  it("has what a second one of the same channel begins with", async () => {
    const { client, shared } = board();
    patched(2, { m: 2 });
    const second = state(client, "board:1");
    expect(second.confirmed).toEqual({ value: { n: 1, m: 2 }, version: 2 });
    expect(FakeSocket.last.commands("subscribe").length).toBe(1);
    patched(3, { l: 3 });
    expect(second.value).toEqual(shared.value);
    const done = second.update({ m: 4 });
    FakeSocket.last.reply(update(), { version: 4 });
    patched(4, { m: 4 }, "c1");
    expect(await done).toBe(4);
    expect(shared.value).toEqual({ n: 1, m: 4, l: 3 });
    shared.close();
    patched(5, { last: 1 });
    expect(second.value).toEqual({ n: 1, m: 4, l: 3, last: 1 });
    second.close();
    expect(state(client, "board:1").confirmed.version).toBe(-1); // nobody kept it true meanwhile
  });

  it("begins with what is there also on a channel that is listened to already", () => {
    const { client } = online();
    const seen: string[] = [];
    client.subscribe("board:1").on("event", ({ type }) => seen.push(type));
    FakeSocket.last.confirm("board:1", { offset: 1 });
    const shared = state(client, "board:1");
    expect(FakeSocket.last.sent.map(({ type }) => type)).toEqual(["subscribe", "unsubscribe", "subscribe"]);
    FakeSocket.last.confirm("board:1", { offset: 1 });
    FakeSocket.last.say({ type: "state", channel: "board:1", epoch: "e", version: 1, data: { n: 1 } });
    patched(2, { m: 2 });
    expect(shared.value).toEqual({ n: 1, m: 2 });
    expect(seen).toEqual(["state", "patch"]);
  });

  it("shows an own change at once, and keeps its promise when it is confirmed", async () => {
    const { shared, shown } = board();
    const done = shared.update({ m: 2 });
    expect(shared.value).toEqual({ n: 1, m: 2 });
    expect(update()).toMatchObject({ channel: "board:1", base: 1, epoch: "e", patch: { m: 2 } });
    FakeSocket.last.reply(update(), { version: 2 });
    await pass();
    expect(shared.pending).toBe(1); // the patch itself is still on its way
    patched(2, { m: 2 }, "c1");
    expect(await done).toBe(2);
    expect(shared.pending).toBe(0);
    expect(shown).toEqual([{ n: 1 }, { n: 1, m: 2 }]);
  });

  it("takes its own patch also before the answer, and then only once", async () => {
    const { shared, shown } = board();
    const done = shared.update((value) => ({ n: (value as { n: number }).n + 1 }));
    patched(2, { n: 2 }, "c1");
    FakeSocket.last.reply(update(), { version: 2 });
    expect(await done).toBe(2);
    expect(shown).toEqual([{ n: 1 }, { n: 2 }]);
  });

  it("sends one update at a time, and puts together what waits", async () => {
    const { shared } = board();
    const done = [shared.update({ a: 1 }), shared.update({ b: 1 }), shared.update({ b: 2, c: 3 })];
    expect(FakeSocket.last.commands("update").length).toBe(1);
    FakeSocket.last.reply(update(), { version: 2 });
    patched(2, { a: 1 }, "c1");
    await pass();
    expect(update()).toMatchObject({ base: 2, patch: { b: 2, c: 3 } });
    FakeSocket.last.reply(update(), { version: 3 });
    patched(3, { b: 2, c: 3 }, "c1");
    expect(await Promise.all(done)).toEqual([2, 3, 3]);
  });

  it("puts its change on top of somebody else's, under the same key", async () => {
    const { shared, shown, conflicts } = board();
    const done = shared.update({ m: 2 });
    const { key } = update();
    patched(2, { other: 1 });
    expect(shared.value).toEqual({ n: 1, other: 1, m: 2 });
    stale(2, { n: 1, other: 1 });
    await pass();
    expect(update()).toMatchObject({ base: 2, patch: { m: 2 }, key });
    FakeSocket.last.reply(update(), { version: 3 });
    patched(3, { m: 2 }, "c1");
    expect(await done).toBe(3);
    expect(shown.at(-1)).toEqual({ n: 1, other: 1, m: 2 });
    expect(conflicts).toEqual([]);
  });

  it("takes the state from the answer when the patches are still on their way", async () => {
    const { shared } = board();
    void shared.update({ m: 2 });
    stale(3, { n: 7 });
    await pass();
    expect(shared.value).toEqual({ n: 7, m: 2 });
    expect(update()).toMatchObject({ base: 3 });
    patched(2, { n: 5 });
    patched(3, { n: 7 });
    expect(shared.confirmed).toEqual({ value: { n: 7 }, version: 3 });
  });

  it("does not go back to a state that is older than such an answer", async () => {
    const { shared } = board();
    void shared.update({ m: 2 });
    stale(4, { n: 7 });
    await pass();
    FakeSocket.last.say({ type: "state", channel: "board:1", epoch: "e", version: 3, data: { n: 5 } });
    expect(shared.confirmed).toEqual({ value: { n: 7 }, version: 4 });
    FakeSocket.last.say({ type: "state", channel: "board:1", epoch: "f", version: 0, data: { n: 0 } });
    expect(shared.confirmed).toEqual({ value: { n: 0 }, version: 0 });
  });

  it("tells of conflicts, in which the own change wins", () => {
    const { shared, conflicts } = board();
    void shared.update({ n: 2, m: 1 });
    patched(2, { n: 3, x: 1 });
    expect(conflicts).toMatchObject([
      { paths: [["n"]], mine: { n: 2, m: 1 }, theirs: { n: 3, x: 1 }, from: { client: "c9" } },
    ]);
    expect(shared.value).toEqual({ n: 2, m: 1, x: 1 });
  });

  it("gives its change up when told so", async () => {
    const { shared, conflicts } = board();
    const error = failure(shared.update({ n: 2 }));
    patched(2, { n: 3 });
    conflicts[0]!.drop();
    stale(2, { n: 3 });
    expect((await error).code).toBe("stale_version");
    expect(shared.value).toEqual({ n: 3 });
    expect(FakeSocket.last.commands("update").length).toBe(1);
  });

  it("makes a change by function anew from what is there", async () => {
    const { shared } = board();
    void shared.update((value) => ({ n: (value as { n: number }).n + 1 }));
    patched(2, { n: 10 });
    expect(shared.value).toEqual({ n: 11 });
    stale(2, { n: 10 });
    await pass();
    expect(update()).toMatchObject({ base: 2, patch: { n: 11 } });
  });

  it("takes back what the gateway refuses", async () => {
    const { shared } = board();
    const error = failure(shared.update({ m: 2 }));
    void shared.update({ k: 3 });
    FakeSocket.last.error(update(), "limit_exceeded");
    expect((await error).code).toBe("limit_exceeded");
    expect(shared.value).toEqual({ n: 1, k: 3 });
    expect(update()).toMatchObject({ patch: { k: 3 } });
  });

  it("is edited without a connection, and sent when there is one", async () => {
    const { shared } = board();
    FakeSocket.last.end();
    const done = shared.update({ a: 1 });
    void shared.update({ a: 2 });
    expect(shared.value).toEqual({ n: 1, a: 2 });
    await nextConnection();
    expect(FakeSocket.last.command("subscribe")["since"]).toMatchObject({ epoch: "e", offset: 1 });
    expect(FakeSocket.last.commands("update")).toEqual([]);
    FakeSocket.last.confirm("board:1", { offset: 1, recovered: true });
    expect(FakeSocket.last.commands("update")).toMatchObject([{ base: 1, patch: { a: 2 } }]);
    FakeSocket.last.reply(update(), { version: 2 });
    patched(2, { a: 2 }, "c2");
    expect(await done).toBe(2);
  });

  it("repeats what was under way when the connection ended, and takes no conflict from its own patch", async () => {
    const { shared, conflicts } = board();
    const done = shared.update({ n: 2 });
    const sent = update();
    FakeSocket.last.end();
    await nextConnection();
    expect(update()).toEqual(sent);
    FakeSocket.last.confirm("board:1", { offset: 2, recovered: true });
    patched(2, { n: 2 }, "c1");
    FakeSocket.last.reply(update(), { version: 2, duplicate: true });
    expect(await done).toBe(2);
    expect(conflicts).toEqual([]);
    expect(shared.value).toEqual({ n: 2 });
  });

  it("begins anew when the gateway did", async () => {
    const { shared } = board();
    FakeSocket.last.end();
    void shared.update({ m: 1 });
    await nextConnection();
    FakeSocket.last.confirm("board:1", { epoch: "f", offset: 0, recovered: false });
    FakeSocket.last.say({ type: "state", channel: "board:1", epoch: "f", version: 0, data: null });
    expect(shared.value).toEqual({ m: 1 });
    stale(0, null); // what was sent on the version of the other life
    await pass();
    expect(update()).toMatchObject({ base: 0, patch: { m: 1 } });
  });

  it("waits for the state behind a gap", async () => {
    const { shared } = board();
    FakeSocket.last.say({ type: "gap", channel: "board:1", from: 2, to: 5, reason: "lost" });
    patched(2, { wrong: true });
    patched(6, { wrong: true });
    expect(shared.value).toEqual({ n: 1 });
    FakeSocket.last.say({ type: "state", channel: "board:1", epoch: "e", version: 6, data: { n: 6 } });
    patched(7, { m: 7 });
    expect(shared.value).toEqual({ n: 6, m: 7 });
  });

  it("takes no patch of another life for its next one behind a gap", async () => {
    const { shared } = board();
    FakeSocket.last.say({ type: "gap", channel: "board:1", epoch: "f", reason: "lost" });
    patched(2, { wrong: true });
    expect(shared.value).toEqual({ n: 1 });
    FakeSocket.last.say({ type: "state", channel: "board:1", epoch: "f", version: 2, data: { n: 2 } });
    expect(shared.value).toEqual({ n: 2 });
  });

  it("asks for the whole state when it was cut off before the first came", async () => {
    const { client } = online();
    state(client, "board:1");
    FakeSocket.last.confirm("board:1", { offset: 4 });
    FakeSocket.last.end();
    await nextConnection();
    expect(FakeSocket.last.command("subscribe")["since"]).toBeUndefined();
  });

  it("is over when it is closed", async () => {
    const { shared } = board();
    const error = failure(shared.update({ m: 1 }));
    shared.close();
    expect((await error).code).toBe("closed");
    expect(FakeSocket.last.command("unsubscribe")).toMatchObject({ channel: "board:1" });
  });
});

// ---- many clients, one gateway, and a bad network ----

/** The gateway's part: one state, its patches, and connections whose messages take their time. */
class Gateway {
  version = 0;
  data: Json = null;
  readonly patches: { version: number; patch: Json; from: { client: string } }[] = [];
  readonly keys = new Map<string, number>();

  constructor(readonly random: Dice) {}

  carryOut(socket: Wire, command: { [name: string]: Json }): void {
    if (command["type"] === "subscribe") this.#subscribe(socket, command);
    else if (command["type"] === "update") this.#update(socket, command);
  }

  #subscribe(socket: Wire, { id, since }: { [name: string]: Json }): void {
    socket.subscribed = true;
    const from = (since as { offset: number } | undefined)?.offset;
    const recovered = from !== undefined && this.random(3) > 0;
    socket.tell({ type: "reply", id, epoch: "e", offset: this.version, ...(since && { recovered }) });
    if (!recovered) socket.tell({ type: "state", channel: "b", epoch: "e", version: this.version, data: this.data });
    else for (const patch of this.patches.slice(from)) socket.tell({ type: "patch", channel: "b", ...patch });
  }

  #update(socket: Wire, { id, base, patch, key }: { [name: string]: Json }): void {
    const known = this.keys.get(key as string);
    if (known !== undefined) return socket.tell({ type: "reply", id, version: known, duplicate: true });
    if (base !== this.version) {
      const { version, data } = this;
      return socket.tell({ type: "error", id, code: "stale_version", retry: false, epoch: "e", version, data });
    }
    this.data = merge(this.data, patch!);
    this.keys.set(key as string, ++this.version);
    const event = { version: this.version, patch: patch!, from: { client: socket.name } };
    this.patches.push(event);
    const answer = () => socket.tell({ type: "reply", id, version: event.version });
    const first = this.random(2);
    if (first) answer();
    for (const each of Wire.all) if (each.subscribed) each.tell({ type: "patch", channel: "b", ...event });
    if (!first) answer();
  }
}

/** A socket to it: in order in both directions, late, and cut now and then. */
class Wire {
  static all: Wire[] = [];
  static gateway: Gateway;
  binaryType = "";
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror = null;
  subscribed = false;
  readonly name = `c${Wire.all.length}`;
  #up = Promise.resolve();
  #down = Promise.resolve();
  #open = true;

  constructor() {
    Wire.all.push(this);
    this.tell({ type: "hello", client: this.name, session: this.name, ping: 3600 });
  }

  #late(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, Wire.gateway.random(40)));
  }

  send(text: string): void {
    const command = JSON.parse(text) as { [name: string]: Json };
    this.#up = this.#up.then(() => this.#late()).then(() => void (this.#open && Wire.gateway.carryOut(this, command)));
  }

  tell(event: object): void {
    const data = JSON.stringify(event);
    this.#down = this.#down.then(() => this.#late()).then(() => void (this.#open && this.onmessage?.({ data })));
  }

  close(): void {
    this.#open = this.subscribed = false;
  }

  cut(): void {
    if (!this.#open) return;
    this.close();
    this.onclose?.({ code: 1006, reason: "" });
  }
}

describe("many clients on a bad network", () => {
  it.each(Array.from({ length: 25 }, (_, seed) => seed))("agree in the end: %i", async (seed) => {
    const { Client } = await import("../src/index.js");
    const random = dice(seed);
    Wire.all = [];
    Wire.gateway = new Gateway(random);
    const clients = Array.from({ length: 4 }, () => new Client("ws://gateway/ws", { WebSocket: Wire, random: () => 0.1 }));
    const copies = clients.map((client) => state(client.connect(), "b"));
    let added = 0;
    const kept: Promise<unknown>[] = [];
    for (let n = 0; n < 60; n++) {
      const copy = copies[random(4)]!;
      if (random(3)) kept.push(copy.update({ [`k${random(6)}`]: randomJson(random, 2) }));
      else {
        kept.push(copy.update((value) => ({ sum: ((value as { sum?: number } | null)?.sum ?? 0) + 1 })));
        added += 1;
      }
      if (!random(10)) Wire.all[random(Wire.all.length)]!.cut();
      await pass(random(60));
    }
    await pass(60_000);
    expect(copies.map((copy) => copy.pending)).toEqual([0, 0, 0, 0]);
    for (const copy of copies) expect(copy.value).toEqual(Wire.gateway.data);
    expect((Wire.gateway.data as { sum?: number }).sum ?? 0).toBe(added); // each exactly once
    await Promise.all(kept);
    for (const client of clients) client.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
