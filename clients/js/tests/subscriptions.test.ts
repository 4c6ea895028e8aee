import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Message } from "../src/index.js";
import { begin, FakeSocket, finish, nextConnection, online, pass, rig } from "./fake.js";

beforeEach(begin);
afterEach(finish);

/** A client that is subscribed to "news" at offset 0, and what it heard. */
function reader(options = {}) {
  const made = online();
  const heard: unknown[] = [];
  const news = made.client.subscribe("news", ({ data }) => heard.push(data), options);
  news.on("lost", (lost) => heard.push(lost));
  news.on("subscribed", ({ resumed }) => heard.push(resumed ? "resumed" : "subscribed"));
  news.on("ended", ({ code }) => heard.push(code));
  FakeSocket.last.confirm("news");
  return { ...made, news, heard };
}

/** The connection is lost, and another one is there. */
async function interrupt(): Promise<void> {
  FakeSocket.last.end();
  await nextConnection();
}

describe("subscribing", () => {
  it("waits for the connection", () => {
    const { client } = rig();
    const heard: unknown[] = [];
    const news = client.subscribe("news", ({ data }) => heard.push(data));
    FakeSocket.last.open();
    expect(FakeSocket.last.sent).toEqual([]);
    FakeSocket.last.hello();
    expect(FakeSocket.last.sent).toEqual([{ type: "subscribe", channel: "news", id: 1 }]);
    expect(news.active).toBe(false);
    FakeSocket.last.confirm("news", { offset: 5 });
    expect(news.active).toBe(true);
    FakeSocket.last.message("news", 6);
    expect(heard).toEqual([6]);
    expect(news.position).toEqual({ epoch: "e", offset: 6, id: "news-6" });
  });

  it("is one subscription for any number of listeners", () => {
    const { client, heard } = reader();
    const other: unknown[] = [];
    const second = client.subscribe("news", ({ data }) => other.push(data));
    const message = (each: Message) => void other.push(`listener ${each.offset}`);
    second.on("message", message);
    expect(FakeSocket.last.commands("subscribe").length).toBe(1);
    FakeSocket.last.message("news", 1);
    expect(heard).toEqual(["subscribed", 1]);
    expect(other).toEqual([1, "listener 1"]);
  });

  it("ends at the gateway with the last handle, and for the others at once", () => {
    const { client, news, heard } = reader();
    const second = client.subscribe("news");
    news.close();
    news.close();
    FakeSocket.last.message("news", 1);
    expect(heard).toEqual(["subscribed"]);
    expect(FakeSocket.last.commands("unsubscribe")).toEqual([]);
    second.close();
    expect(FakeSocket.last.command("unsubscribe")).toMatchObject({ channel: "news" });
    FakeSocket.last.message("news", 2);
    expect(second.active).toBe(false);
  });

  it("is not taken up again once it was closed", async () => {
    const { news } = reader();
    FakeSocket.last.end();
    news.close();
    await pass(1000);
    FakeSocket.last.open().hello();
    expect(FakeSocket.last.sent).toEqual([]);
  });

  it("again after closing hears nothing of the subscription before", () => {
    const { client, news } = reader();
    news.close();
    const heard: unknown[] = [];
    client.subscribe("news", ({ data }) => heard.push(data));
    FakeSocket.last.message("news", 1); // was on its way when `unsubscribe` came
    expect(heard).toEqual([]);
    FakeSocket.last.confirm("news", { offset: 1 });
    FakeSocket.last.message("news", 2);
    expect(heard).toEqual([2]);
  });

  it("may be closed before the gateway answered", () => {
    const { client } = online();
    const heard: unknown[] = [];
    const news = client.subscribe("news", ({ data }) => heard.push(data));
    const command = FakeSocket.last.command("subscribe");
    news.close();
    expect(FakeSocket.last.sent.map(({ type }) => type)).toEqual(["subscribe", "unsubscribe"]);
    FakeSocket.last.reply(command, { channel: "news", epoch: "e", offset: 0 });
    FakeSocket.last.message("news", 1);
    expect(heard).toEqual([]);
  });

  it("begins behind a position that the application kept", () => {
    const { client } = online();
    const lost = vi.fn();
    client.subscribe("news", null, { since: { epoch: "e", offset: 7 } }).on("lost", lost);
    expect(FakeSocket.last.command("subscribe")["since"]).toMatchObject({ epoch: "e", offset: 7 });
    FakeSocket.last.confirm("news", { epoch: "other", offset: 3, recovered: false });
    expect(lost).toHaveBeenCalledWith({ reason: "resume" });
  });

  it("shows a token for the channel, also one that has to be fetched, each time", async () => {
    const { client } = online();
    client.subscribe("a", null, { token: "T" });
    expect(FakeSocket.last.command("subscribe", "a")["token"]).toBe("T");
    let n = 0;
    const token = vi.fn(async () => `T${++n}`).mockRejectedValueOnce(new Error("no network"));
    client.subscribe("b", null, { token });
    await pass();
    expect(FakeSocket.last.commands("subscribe").length).toBe(1);
    await pass(1500);
    expect(FakeSocket.last.command("subscribe", "b")["token"]).toBe("T1");
    await interrupt();
    await pass();
    expect(FakeSocket.last.command("subscribe", "b")["token"]).toBe("T2");
  });

  it("goes on with another token when the one for the channel ended, if there is another", async () => {
    const { client } = online();
    let n = 0;
    client.subscribe("b", null, { token: async () => `T${++n}` });
    await pass(0);
    FakeSocket.last.reply(FakeSocket.last.command("subscribe", "b"), { epoch: "e", offset: 4 });
    FakeSocket.last.say({ type: "unsubscribed", channel: "b", code: "token_expired" });
    await pass(0);
    const again = FakeSocket.last.commands("subscribe").at(-1)!;
    expect(again).toMatchObject({ channel: "b", token: "T2", since: { epoch: "e", offset: 4 } });
    const ended = vi.fn();
    client.subscribe("c", null, { token: "fixed" }).on("ended", ended);
    FakeSocket.last.reply(FakeSocket.last.command("subscribe", "c"), { epoch: "e", offset: 0 });
    FakeSocket.last.say({ type: "unsubscribed", channel: "c", code: "token_expired" });
    expect(ended).toHaveBeenCalledOnce();
  });

  it("that is closed while its token is fetched is not made", async () => {
    const { client } = online();
    client.subscribe("b", null, { token: async () => "T" }).close();
    await pass();
    expect(FakeSocket.last.commands("subscribe")).toEqual([]);
  });

  it("that is refused is told, and is over", async () => {
    const { client } = online();
    const ended = vi.fn();
    client.subscribe("secret").on("ended", ended);
    FakeSocket.last.error(FakeSocket.last.command("subscribe"), "permission_denied");
    expect(ended.mock.calls[0]![0]).toMatchObject({ code: "permission_denied", retry: false });
    await interrupt();
    expect(FakeSocket.last.sent).toEqual([]);
  });

  it("that cannot be made now is made later", async () => {
    const { client } = online();
    const ended = vi.fn();
    client.subscribe("news").on("ended", ended);
    for (let n = 1; n <= 3; n++) {
      FakeSocket.last.error(FakeSocket.last.command("subscribe"), "unavailable", true);
      await pass(10_000);
      FakeSocket.last.say({ type: "pong" });
      expect(FakeSocket.last.commands("subscribe").length).toBe(n + 1);
    }
    expect(ended).not.toHaveBeenCalled();
  });
});

describe("delivery", () => {
  it("drops what was delivered already, and keeps the order", () => {
    const { heard } = reader();
    for (const offset of [1, 2, 2, 1, 3, 7, 6]) FakeSocket.last.message("news", offset);
    expect(heard).toEqual(["subscribed", 1, 2, 3, 7]);
  });

  it("resumes from where it stood", async () => {
    const { heard } = reader();
    FakeSocket.last.message("news", 1);
    await interrupt();
    expect(FakeSocket.last.command("subscribe")["since"]).toMatchObject({ epoch: "e", offset: 1 });
    FakeSocket.last.confirm("news", { offset: 3, recovered: true });
    for (const offset of [1, 2, 3]) FakeSocket.last.message("news", offset);
    expect(heard).toEqual(["subscribed", 1, "resumed", 2, 3]);
  });

  it("resumes in the middle of what is recovered, when that is broken off", async () => {
    const { heard } = reader();
    FakeSocket.last.message("news", 1);
    await interrupt();
    FakeSocket.last.confirm("news", { offset: 3, recovered: true });
    FakeSocket.last.message("news", 2);
    await interrupt();
    expect(FakeSocket.last.command("subscribe")["since"]).toMatchObject({ epoch: "e", offset: 2 });
    FakeSocket.last.confirm("news", { offset: 3, recovered: true });
    FakeSocket.last.message("news", 3);
    expect(heard).toEqual(["subscribed", 1, "resumed", 2, "resumed", 3]);
  });

  it("says that something is missing before anything new", async () => {
    const { heard, news } = reader();
    FakeSocket.last.message("news", 1);
    await interrupt();
    FakeSocket.last.confirm("news", { epoch: "f", offset: 0, recovered: false });
    FakeSocket.last.message("news", 1, "new life");
    expect(heard).toEqual(["subscribed", 1, { reason: "resume" }, "subscribed", "new life"]);
    expect(news.position).toEqual({ epoch: "f", offset: 1, id: "news-1" });
  });

  it("says how it knows its position: by the last message, and the mark of the answer", async () => {
    const { client } = online();
    const news = client.subscribe("news", null);
    const named = async () => {
      await interrupt();
      return FakeSocket.last.command("subscribe")["since"];
    };
    FakeSocket.last.confirm("news", { mark: "r1" });
    expect(await named()).toEqual({ epoch: "e", offset: 0, mark: "r1", clients: ["c1"] });
    FakeSocket.last.confirm("news", { mark: "r2", recovered: true });
    FakeSocket.last.message("news", 1);
    expect(news.position).toEqual({ epoch: "e", offset: 1, id: "news-1", mark: "r2" });
    expect(await named()).toMatchObject({ epoch: "e", offset: 1, id: "news-1", mark: "r2" });
    FakeSocket.last.confirm("news", { offset: 1, mark: "r3", recovered: true });
    FakeSocket.last.say({ type: "gap", channel: "news", from: 2, to: 9, reason: "lost" });
    expect(news.position).toEqual({ epoch: "e", offset: 9, mark: "r3" });
    FakeSocket.last.message("news", 10);
    FakeSocket.last.say({ type: "gap", channel: "news", epoch: "f", from: 1, to: 2, reason: "lost" });
    expect(news.position).toEqual({ epoch: "f", offset: 2, mark: "r3" });
  });

  it("tells of a gap, and resumes behind it", async () => {
    const { heard } = reader();
    FakeSocket.last.message("news", 16);
    FakeSocket.last.say({ type: "gap", channel: "news", from: 17, to: 40, reason: "slow" });
    FakeSocket.last.message("news", 41);
    await interrupt();
    expect(heard).toEqual(["subscribed", 16, { reason: "slow", from: 17, to: 40 }, 41]);
    FakeSocket.last.confirm("news", { offset: 41, recovered: true });
    FakeSocket.last.say({ type: "gap", channel: "news", from: 42, to: 50, reason: "slow" });
    await interrupt();
    expect(FakeSocket.last.command("subscribe")["since"]).toMatchObject({ epoch: "e", offset: 50 });
  });

  it("goes over to a new epoch with the gap that tells of it", async () => {
    const { heard } = reader();
    FakeSocket.last.message("news", 16);
    FakeSocket.last.say({ type: "gap", channel: "news", epoch: "f", from: 1, to: 2, reason: "lost" });
    FakeSocket.last.message("news", 3);
    await interrupt();
    expect(FakeSocket.last.command("subscribe")["since"]).toMatchObject({ epoch: "f", offset: 3 });
    expect(heard.at(-1)).toBe(3);
  });

  it("goes on with what is new where nobody wants what was missed", async () => {
    const { heard } = reader({ resume: false });
    FakeSocket.last.message("news", 1);
    await interrupt();
    expect(FakeSocket.last.command("subscribe")["since"]).toBeUndefined();
    FakeSocket.last.confirm("news", { offset: 9 });
    FakeSocket.last.message("news", 10);
    expect(heard).toEqual(["subscribed", 1, "subscribed", 10]);
  });

  it("survives a listener that throws", async () => {
    const { client, heard } = reader();
    client.subscribe("news", () => {
      throw new Error("of the application");
    });
    client.subscribe("news", ({ data }) => heard.push(`behind ${data as string}`));
    FakeSocket.last.message("news", 1);
    expect(heard).toEqual(["subscribed", 1, "behind 1"]);
    expect(() => vi.runOnlyPendingTimers()).toThrow("of the application");
  });

  it("hands on bytes as bytes", () => {
    const { heard } = reader();
    FakeSocket.last.say({ type: "message", channel: "news", offset: 1, id: "x", data64: "AP8=", time: 0 });
    expect(heard[1]).toEqual(new Uint8Array([0, 255]));
  });

  it("hands on events that it does not know itself", () => {
    const { news } = reader();
    const event = vi.fn();
    news.on("event", event);
    FakeSocket.last.say({ type: "patch", channel: "news", version: 3 });
    expect(event).toHaveBeenCalledWith({ type: "patch", channel: "news", version: 3 });
  });

  it("ends a handle while an event is told", () => {
    const { client } = reader();
    const second = client.subscribe("news");
    const heard: unknown[] = [];
    client.subscribe("news", () => second.close());
    second.on("message", ({ data }) => heard.push(data));
    FakeSocket.last.message("news", 1);
    FakeSocket.last.message("news", 2);
    expect(heard).toEqual([1]);
  });
});

describe("what app services do", () => {
  it("a subscription that they make is told, and comes back with the session", async () => {
    const { client, heard } = reader();
    const room: unknown[] = [];
    client.on("subscription", (made) => {
      room.push(made.channel);
      made.on("message", ({ data }) => room.push(data));
    });
    FakeSocket.last.say({ type: "subscribed", channel: "room", epoch: "r", offset: 4 });
    FakeSocket.last.message("room", 5);
    await interrupt();
    expect(FakeSocket.last.sent).toMatchObject([
      { type: "connect", session: "s1", since: { news: { epoch: "e", offset: 0 }, room: { epoch: "r", offset: 5 } } },
    ]);
    FakeSocket.last.reply(FakeSocket.last.command("connect"), {
      session: "s1",
      subscriptions: [
        { channel: "news", epoch: "e", offset: 0, recovered: true },
        { channel: "room", epoch: "r", offset: 6, recovered: true },
        { channel: "left", epoch: "l", offset: 6 },
      ],
    });
    FakeSocket.last.message("room", 6);
    expect(room).toEqual(["room", 5, 6]);
    expect(heard).toEqual(["subscribed", "resumed"]);
    expect(FakeSocket.last.sent.slice(1)).toMatchObject([{ type: "unsubscribe", channel: "left" }]);
  });

  it("what was sent waits until the session is taken up", async () => {
    const { client } = reader();
    FakeSocket.last.say({ type: "subscribed", channel: "room", epoch: "r", offset: 4 });
    FakeSocket.last.end();
    void client.publish("news", "mine");
    await pass(1000);
    FakeSocket.last.open().hello();
    expect(FakeSocket.last.commands("publish")).toEqual([]);
    FakeSocket.last.error(FakeSocket.last.command("connect"), "unauthorized");
    expect(FakeSocket.last.sent.slice(1).map(({ type, channel }) => [type, channel])).toEqual([
      ["subscribe", "news"],
      ["subscribe", "room"],
      ["publish", "news"],
    ]);
  });

  it("a subscription that they make anew says what it missed", async () => {
    const { client } = online();
    const room: unknown[] = [];
    client.on("subscription", (made) => {
      made.on("lost", ({ reason }) => room.push(reason));
      made.on("subscribed", ({ resumed }) => room.push(resumed));
    });
    FakeSocket.last.say({ type: "subscribed", channel: "room", epoch: "r", offset: 4 });
    await interrupt();
    FakeSocket.last.say({ type: "subscribed", channel: "room", epoch: "r", offset: 4 });
    await interrupt();
    FakeSocket.last.say({ type: "subscribed", channel: "room", epoch: "r", offset: 6 });
    expect(room).toEqual([false, true, "resume", false]);
  });

  it("a channel of one's own that the token subscribes is resumed all the same", async () => {
    const { heard } = reader();
    FakeSocket.last.message("news", 1);
    await interrupt();
    const first = FakeSocket.last.command("subscribe");
    FakeSocket.last.say({ type: "subscribed", channel: "news", epoch: "e", offset: 2 });
    FakeSocket.last.error(first, "already_subscribed");
    expect(FakeSocket.last.sent.map(({ type }) => type)).toEqual(["subscribe", "unsubscribe", "subscribe"]);
    FakeSocket.last.confirm("news", { offset: 2, recovered: true });
    FakeSocket.last.message("news", 2);
    expect(heard).toEqual(["subscribed", 1, "resumed", 2]);
  });

  it("a subscription that they end is over", async () => {
    const { heard, news } = reader();
    FakeSocket.last.say({ type: "unsubscribed", channel: "news", code: "unsubscribed" });
    FakeSocket.last.message("news", 1);
    expect(heard).toEqual(["subscribed", "unsubscribed"]);
    expect(news.active).toBe(false);
    await interrupt();
    expect(FakeSocket.last.sent).toEqual([]);
  });

  it("a subscription that ended for want of something is made again", async () => {
    reader();
    FakeSocket.last.say({ type: "unsubscribed", channel: "news", code: "unavailable" });
    await pass(2000);
    expect(FakeSocket.last.command("subscribe")["since"]).toMatchObject({ epoch: "e", offset: 0 });
  });

  it("messages to the user are resumed like those of any channel, and those to this client come by themselves", async () => {
    const { client } = rig();
    const heard: unknown[] = [];
    const toClient = (n: number) =>
      FakeSocket.last.say({ type: "message", channel: `@#c${n}`, id: `d${n}`, data: `one ${n}`, time: 0 });
    client.direct.on("message", ({ data }) => heard.push(data));
    client.direct.on("lost", ({ reason }) => heard.push(reason));
    FakeSocket.last.open().hello({ user: "ada" });
    FakeSocket.last.message("@ada", 1); // before the answer: there was no position to begin from
    FakeSocket.last.confirm("@ada", { offset: 1 });
    FakeSocket.last.message("@ada", 2);
    FakeSocket.last.message("@ada", 2);
    toClient(1);
    FakeSocket.last.end();
    await pass(1000);
    FakeSocket.last.open().hello({ user: "ada" });
    expect(FakeSocket.last.command("subscribe", "@ada")["since"]).toEqual({ epoch: "e", offset: 2, id: "@ada-2", clients: ["c1"] });
    toClient(2);
    FakeSocket.last.message("@ada", 4); // it comes again
    FakeSocket.last.confirm("@ada", { offset: 4, recovered: true });
    for (const offset of [3, 4, 5]) FakeSocket.last.message("@ada", offset);
    expect(heard).toEqual([1, 2, "one 1", "one 2", 3, 4, 5]);
    FakeSocket.last.end();
    await pass(2000);
    FakeSocket.last.open().hello({ user: "ada" });
    FakeSocket.last.confirm("@ada", { offset: 9, recovered: false });
    expect(heard.at(-1)).toBe("resume");
    FakeSocket.last.end();
    await pass(4000);
    FakeSocket.last.open().hello({ user: "bob" }); // somebody else begins anew
    expect(FakeSocket.last.command("subscribe", "@bob")["since"]).toBeUndefined();
  });

  it("nobody who does not listen to them subscribes to them", () => {
    const { client } = rig();
    FakeSocket.last.open().hello({ user: "ada" });
    expect(FakeSocket.last.sent).toEqual([]);
    void client.direct;
    expect(FakeSocket.last.commands("subscribe")).toMatchObject([{ channel: "@ada" }]);
  });

  it("errors that belong to no command are told", () => {
    const { client } = online();
    const error = vi.fn();
    client.on("error", error);
    FakeSocket.last.say({ type: "error", code: "bad_request", message: "what?", retry: false });
    expect(error.mock.calls[0]![0]).toMatchObject({ code: "bad_request", message: "what?" });
  });
});
