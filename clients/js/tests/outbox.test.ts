import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { REPEAT_MS } from "../src/outbox.js";
import { begin, failure, FakeSocket, finish, nextConnection, online, pass, rig } from "./fake.js";

beforeEach(begin);
afterEach(finish);

const texts = (socket = FakeSocket.last) => socket.commands("publish").map(({ data }) => data);

describe("publishing", () => {
  it("is answered with the position", async () => {
    const { client } = online();
    const done = client.publish("news", { n: 1 });
    const command = FakeSocket.last.command("publish");
    expect(command).toMatchObject({ channel: "news", data: { n: 1 } });
    expect(command["key"]).toMatch(/^[0-9a-f]{32}$/);
    FakeSocket.last.reply(command, { channel: "news", epoch: "e", offset: 4 });
    expect(await done).toMatchObject({ epoch: "e", offset: 4 });
    expect(client.queued).toBe(0);
    client.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("sends bytes as base64", () => {
    const { client } = online();
    void client.publish("news", new Uint8Array([0, 255]));
    expect(FakeSocket.last.command("publish")).toMatchObject({ data64: "AP8=" });
    expect(FakeSocket.last.command("publish").data).toBeUndefined();
  });

  it("waits without a connection, and goes out once and in order", async () => {
    const { client } = rig();
    for (const n of [1, 2, 3]) void client.publish(n === 2 ? "other" : "news", n);
    expect(client.queued).toBe(3);
    FakeSocket.last.open().hello();
    expect(texts()).toEqual([1, 2, 3]);
    for (const command of FakeSocket.last.commands("publish")) FakeSocket.last.reply(command);
    FakeSocket.last.end();
    await nextConnection();
    expect(texts()).toEqual([]);
  });

  it("goes out behind the subscriptions", async () => {
    const { client } = rig();
    void client.publish("news", "mine");
    client.subscribe("news");
    FakeSocket.last.open().hello();
    expect(FakeSocket.last.sent.map(({ type }) => type)).toEqual(["subscribe", "publish"]);
  });

  it("is repeated with the same key when its outcome is unknown", async () => {
    const { client } = online();
    const done = client.publish("news", "x", { key: "order-17" });
    FakeSocket.last.end();
    await nextConnection();
    expect(FakeSocket.last.commands("publish")).toMatchObject([{ data: "x", key: "order-17" }]);
    FakeSocket.last.reply(FakeSocket.last.command("publish"), { epoch: "e", offset: 1, duplicate: true });
    expect(await done).toMatchObject({ duplicate: true });
  });

  it("does not notice what becomes of its data afterwards", async () => {
    const { client } = rig();
    const data = { text: "before" };
    void client.publish("news", data);
    data.text = "after";
    FakeSocket.last.open().hello();
    expect(texts()).toEqual([{ text: "before" }]);
  });

  it("is broken at once by what cannot be encoded", async () => {
    const { client } = online();
    const loop: { self?: unknown } = {};
    loop.self = loop;
    await expect(client.publish("news", loop)).rejects.toThrow(TypeError);
    expect(client.queued).toBe(0);
  });

  it("is broken by what the gateway refuses for good", async () => {
    const { client } = online();
    const error = failure(client.publish("news", "x"));
    FakeSocket.last.error(FakeSocket.last.command("publish"), "permission_denied");
    expect(await error).toMatchObject({ code: "permission_denied", retry: false, unknown: false });
  });

  it.each(["unavailable", "timeout", "internal", "rate_limited"])("is tried again after %s", async (code) => {
    const { client } = online();
    const done = client.publish("news", "x");
    const { key } = FakeSocket.last.command("publish");
    FakeSocket.last.error(FakeSocket.last.command("publish"), code, true);
    expect(texts().length).toBe(1);
    await pass(750);
    expect(texts().length).toBe(2);
    expect(FakeSocket.last.command("publish")["key"]).toBe(key);
    FakeSocket.last.reply(FakeSocket.last.command("publish"), { offset: 1 });
    expect(await done).toMatchObject({ offset: 1 });
  });

  it("keeps the order of a channel while its first waits", async () => {
    const { client } = online();
    void client.publish("news", 1);
    FakeSocket.last.error(FakeSocket.last.command("publish"), "unavailable", true);
    void client.publish("news", 2);
    void client.publish("other", 3);
    expect(texts()).toEqual([1, 3]);
    await pass(750);
    expect(texts()).toEqual([1, 3, 1, 2]);
  });

  it("lets go of what it held back when the first is refused", async () => {
    const { client } = online();
    const first = failure(client.publish("news", 1, { ttl: 600 }));
    FakeSocket.last.error(FakeSocket.last.command("publish"), "unavailable", true);
    void client.publish("news", 2);
    await pass(600);
    expect((await first).code).toBe("expired");
    expect(texts()).toEqual([1, 2]);
  });

  it("does not wait for its next attempt when another connection is there", async () => {
    const { client } = online();
    void client.publish("news", 1);
    FakeSocket.last.error(FakeSocket.last.command("publish"), "unavailable", true);
    FakeSocket.last.end(4200);
    FakeSocket.last.open().hello();
    expect(texts()).toEqual([1]);
    await pass(5000);
    expect(texts()).toEqual([1]);
  });
});

describe("the bounds of the queue", () => {
  it("are of number", async () => {
    const { client } = rig({ maxQueued: 2 });
    void client.publish("news", 1);
    void client.publish("news", 2);
    expect(await failure(client.publish("news", 3))).toMatchObject({ code: "queue_full", retry: true, unknown: false });
    FakeSocket.last.open().hello();
    expect(texts()).toEqual([1, 2]);
    FakeSocket.last.reply(FakeSocket.last.command("publish"));
    void client.publish("news", 4);
    expect(texts()).toEqual([1, 2, 4]);
  });

  it("are of time", async () => {
    const { client } = rig();
    const error = failure(client.publish("news", 1, { ttl: 5000 }));
    await pass(5000);
    expect(await error).toMatchObject({ code: "expired", unknown: false });
    FakeSocket.last.open().hello();
    expect(texts()).toEqual([]);
  });

  it("say when the outcome of what expired is unknown", async () => {
    const { client } = online();
    const error = failure(client.publish("news", 1, { ttl: 5000 }));
    await pass(5000);
    expect(await error).toMatchObject({ code: "expired", unknown: true });
    FakeSocket.last.reply(FakeSocket.last.command("publish")); // too late, and nobody minds
  });

  it("do not repeat what the gateway may have forgotten the key of", async () => {
    const { client } = online();
    const error = failure(client.publish("news", 1, { ttl: 3_600_000 }));
    FakeSocket.last.end();
    await pass(20_000);
    vi.setSystemTime(Date.now() + REPEAT_MS);
    FakeSocket.last.open().hello();
    expect(await error).toMatchObject({ code: "expired", unknown: true });
    expect(texts()).toEqual([]);
  });

  it("keep for as long what was never sent", async () => {
    const { client } = rig();
    void client.publish("news", 1, { ttl: 3_600_000 });
    await pass(9000);
    vi.setSystemTime(Date.now() + 2 * REPEAT_MS);
    FakeSocket.last.open().hello();
    expect(texts()).toEqual([1]);
  });

  it("let nothing wait that is for now only", async () => {
    const { client } = rig();
    expect(await failure(client.publish("cursor", 1, { ttl: 0 }))).toMatchObject({ code: "expired" });
    FakeSocket.last.open().hello();
    const lost = failure(client.publish("cursor", 2, { ttl: 0 }));
    FakeSocket.last.end();
    expect(await lost).toMatchObject({ code: "disconnected", unknown: true });
    await nextConnection();
    expect(texts()).toEqual([]);
  });

  it("break off what waits when the client is closed", async () => {
    const { client } = rig();
    const error = failure(client.publish("news", 1));
    client.close();
    expect(await error).toMatchObject({ code: "closed", unknown: false });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("give up the one that is too big for the gateway, and only that", async () => {
    const { client } = online();
    void client.publish("news", "small");
    const big = failure(client.publish("news", "x".repeat(70_000)));
    FakeSocket.last.end(1009);
    expect(await big).toMatchObject({ code: "limit_exceeded" });
    await nextConnection();
    expect(texts()).toEqual(["small"]);
  });
});

describe("calls", () => {
  it("are answered by the app service", async () => {
    const { client } = online();
    const total = client.call("cart.add", { sku: 7 }, { timeout: 5000 });
    const command = FakeSocket.last.command("call");
    expect(command).toMatchObject({ method: "cart.add", payload: { sku: 7 }, timeout: 5000 });
    FakeSocket.last.reply(command, { payload: { total: 3 } });
    expect(await total).toEqual({ total: 3 });
  });

  it("are answered also where there is no method, only something to say", async () => {
    const { client } = online();
    const done = client.send({ text: "hi" });
    expect(FakeSocket.last.command("send")).toMatchObject({ data: { text: "hi" } });
    FakeSocket.last.reply(FakeSocket.last.command("send"), { payload: "noted" });
    expect(await done).toBe("noted");
    const bytes = client.send(new Uint8Array([0, 255]));
    const command = FakeSocket.last.commands("send").at(-1)!;
    expect(command).toMatchObject({ data64: "AP8=" });
    FakeSocket.last.reply(command, {});
    expect(await bytes).toBeUndefined();
  });

  it("carry bytes in both directions", async () => {
    const { client } = online();
    const answer = client.call("x", new Uint8Array([0, 255]));
    expect(FakeSocket.last.command("call")).toMatchObject({ payload64: "AP8=" });
    FakeSocket.last.reply(FakeSocket.last.command("call"), { payload64: "AQ==" });
    expect(await answer).toEqual(new Uint8Array([1]));
  });

  it("are given up when no answer comes in time", async () => {
    const { client } = online();
    const error = failure(client.call("slow", null, { timeout: 5000 }));
    await pass(4999);
    expect(client.queued).toBe(1);
    await pass(1);
    expect(await error).toMatchObject({ code: "timeout", unknown: true });
  });

  it("hand on what the app service refuses", async () => {
    const { client } = online();
    const error = failure(client.call("x"));
    FakeSocket.last.error(FakeSocket.last.command("call"), "unavailable", true);
    expect(await error).toMatchObject({ code: "unavailable", retry: true });
    await pass(10_000);
    expect(FakeSocket.last.commands("call").length).toBe(1);
  });

  it("can be aborted: before they begin, while they wait, and under way", async () => {
    const { client } = rig();
    expect((await failure(client.call("x", 1, { signal: AbortSignal.abort() }))).code).toBe("aborted");
    const waiting = new AbortController();
    const first = failure(client.call("x", 1, { signal: waiting.signal }));
    waiting.abort();
    expect(await first).toMatchObject({ code: "aborted", unknown: false });
    FakeSocket.last.open().hello();
    expect(FakeSocket.last.sent).toEqual([]);
    const flying = new AbortController();
    const second = failure(client.call("x", 2, { signal: flying.signal }));
    flying.abort();
    expect(await second).toMatchObject({ code: "aborted", unknown: true });
    expect(client.queued).toBe(0);
  });

  it("wait for a connection, and are sent once", async () => {
    const { client } = rig();
    const answer = client.call("x", 1);
    await pass(5000);
    FakeSocket.last.open().hello();
    await pass(6000); // the time for the answer begins when it is sent
    FakeSocket.last.reply(FakeSocket.last.command("call"), { payload: "yes" });
    expect(await answer).toBe("yes");
  });

  it("are not repeated when their outcome is unknown", async () => {
    const { client } = online();
    const error = failure(client.call("pay", 1));
    FakeSocket.last.end();
    expect(await error).toMatchObject({ code: "disconnected", unknown: true });
    await nextConnection();
    expect(FakeSocket.last.sent).toEqual([]);
  });

  it("are repeated where that does no harm", async () => {
    const { client } = online();
    const answer = client.call("price", 1, { repeat: true, timeout: 60_000 });
    FakeSocket.last.end();
    await nextConnection();
    FakeSocket.last.reply(FakeSocket.last.command("call"), { payload: 9 });
    expect(await answer).toBe(9);
  });
});

describe("history", () => {
  it("is read page by page", async () => {
    const { client } = online();
    const page = client.history("news", { limit: 2, before: 9 });
    const command = FakeSocket.last.command("history");
    expect(command).toMatchObject({ channel: "news", limit: 2, before: 9 });
    FakeSocket.last.reply(command, {
      epoch: "e",
      offset: 9,
      publications: [
        { offset: 7, id: "a", time: 0, data: null },
        { offset: 8, id: "b", time: 0, data64: "AA==" },
      ],
      complete: true,
    });
    expect(await page).toEqual({
      epoch: "e",
      offset: 9,
      publications: [
        { offset: 7, id: "a", time: 0, data: null },
        { offset: 8, id: "b", time: 0, data: new Uint8Array([0]) },
      ],
      complete: true,
    });
  });

  it("is asked again when the connection ends", async () => {
    const { client } = online();
    const page = client.history("news");
    FakeSocket.last.end();
    await pass(1000);
    FakeSocket.last.open().hello();
    FakeSocket.last.reply(FakeSocket.last.command("history"), { epoch: "e", offset: 0 });
    expect((await page).publications).toEqual([]);
  });
});
