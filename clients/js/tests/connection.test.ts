import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { begin, FakeSocket, finish, online, pass, rig } from "./fake.js";

beforeEach(begin);
afterEach(finish);

describe("connecting", () => {
  it("offers its encoding and says where it is", () => {
    const { client, states } = rig({}, "https://gateway.example/ws");
    expect(FakeSocket.last.url).toBe("wss://gateway.example/ws");
    expect(FakeSocket.last.protocols).toEqual(["ringgate.v1.json"]);
    FakeSocket.last.open().hello({ user: "ada" });
    expect(client.status).toEqual({ state: "online", client: "c1", user: "ada" });
    expect(states()).toEqual(["connecting", "online"]);
  });

  it("asks for the address at each attempt", async () => {
    let n = 0;
    rig({}, () => `ws://node-${++n}/ws`);
    FakeSocket.last.end();
    await pass(1000);
    expect(FakeSocket.all.map(({ url }) => url)).toEqual(["ws://node-1/ws", "ws://node-2/ws"]);
  });

  it("needs a class of sockets", async () => {
    const { Client } = await import("../src/index.js");
    vi.stubGlobal("WebSocket", undefined);
    expect(() => new Client("ws://gateway/ws")).toThrow("WebSocket");
    vi.unstubAllGlobals();
  });

  it("stops at an address that is none", () => {
    const { client } = rig({}, "http://");
    expect(client.status).toMatchObject({ state: "offline", code: "bad_request" });
  });

  it("gives an attempt up that takes too long", async () => {
    const { client } = rig({ connectTimeout: 5000 });
    await pass(4999);
    expect(client.status.state).toBe("connecting");
    await pass(1);
    expect(FakeSocket.last.closed).toBe(true);
    expect(client.status).toEqual({ state: "reconnecting", seconds: 1 });
  });

  it("hears nothing of a socket that it gave up", async () => {
    const { client } = rig({ connectTimeout: 5000 });
    const old = FakeSocket.last;
    const { onmessage, onclose } = old;
    await pass(6000);
    expect(FakeSocket.all.length).toBe(2);
    expect([old.onmessage, old.onclose]).toEqual([null, null]);
    expect([onmessage, onclose]).not.toContain(null);
    expect(client.status.state).toBe("connecting");
  });

  it("does nothing twice", () => {
    const { client } = online();
    client.connect();
    client.connect();
    expect(FakeSocket.all.length).toBe(1);
  });
});

describe("a lost connection", () => {
  it("comes back after waits that grow, counted down by the second", async () => {
    const { statuses } = online();
    await pass(6000);
    statuses.length = 0;
    const attempts: number[] = [];
    for (let n = 0; n < 6; n++) {
      const at = Date.now();
      FakeSocket.last.end();
      const made = FakeSocket.all.length;
      while (FakeSocket.all.length === made) await pass(100);
      attempts.push(Math.round((Date.now() - at) / 100) * 100);
    }
    expect(attempts).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000]);
    const told = statuses.map((status) => ("seconds" in status ? status.seconds : status.state));
    expect(told.slice(0, 9)).toEqual([1, "connecting", 2, 1, "connecting", 4, 3, 2, 1]);
  });

  it("begins with short waits again once it was stable", async () => {
    const { client } = online();
    FakeSocket.last.end();
    await pass(1000);
    FakeSocket.last.end();
    await pass(2000);
    FakeSocket.last.open().hello();
    await pass(4999);
    FakeSocket.last.end(); // not stable yet
    expect(client.status).toEqual({ state: "reconnecting", seconds: 4 });
    await pass(4000);
    FakeSocket.last.open().hello();
    await pass(5000);
    FakeSocket.last.end();
    expect(client.status).toEqual({ state: "reconnecting", seconds: 1 });
  });

  it.each([4000, 4002, 4003, 4004, 4099])("stays away after %i until told otherwise", async (code) => {
    const { client } = online();
    FakeSocket.last.end(code, "go away");
    expect(client.status).toEqual({ state: "offline", code, reason: "go away" });
    await pass(100_000);
    client.wake();
    expect(FakeSocket.all.length).toBe(1);
    client.connect();
    FakeSocket.last.open().hello();
    expect(client.status.state).toBe("online");
  });

  it("waits after 4100", async () => {
    const { client } = online();
    FakeSocket.last.end(4100);
    expect(client.status).toEqual({ state: "reconnecting", seconds: 1 });
    expect(FakeSocket.all.length).toBe(1);
  });

  it("comes back at once after 4200, but does not spin", async () => {
    const { client, states } = online();
    FakeSocket.last.end(4200);
    expect(FakeSocket.all.length).toBe(2);
    expect(states()).toEqual(["connecting", "online", "connecting"]);
    FakeSocket.last.open().hello();
    FakeSocket.last.end(4200);
    expect(FakeSocket.all.length).toBe(2);
    expect(client.status).toEqual({ state: "reconnecting", seconds: 2 });
    await pass(2000);
    FakeSocket.last.open().hello();
    await pass(5000);
    FakeSocket.last.end(4203);
    expect(FakeSocket.all.length).toBe(4);
  });

  it("comes back when the gateway says", async () => {
    const { client } = online({ random: () => 0.25 });
    FakeSocket.last.say({ type: "reconnect", after: [1000, 15_000], reason: "drain" });
    expect(client.status.state).toBe("online");
    FakeSocket.last.end(4202);
    expect(client.status).toEqual({ state: "reconnecting", seconds: 5 });
    await pass(4499);
    expect(FakeSocket.all.length).toBe(1);
    await pass(1);
    expect(FakeSocket.all.length).toBe(2);
  });

  it("is not revived by an advice after a refusal", () => {
    const { client } = online();
    FakeSocket.last.say({ type: "reconnect", after: [0, 0], reason: "drain" });
    FakeSocket.last.end(4002);
    expect(client.status.state).toBe("offline");
  });

  it("is over when the application closes", async () => {
    const { client } = online();
    const socket = FakeSocket.last;
    client.close();
    expect(socket.closed).toBe(true);
    expect(client.status).toEqual({ state: "offline" });
    await pass(100_000);
    expect(FakeSocket.all.length).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is not waited for any more when the application closes", async () => {
    const { client } = online();
    FakeSocket.last.end();
    client.close();
    await pass(100_000);
    expect(FakeSocket.all.length).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("ends when the gateway sends what is no event", () => {
    const { client } = online();
    FakeSocket.last.onmessage!({ data: "<html>" });
    expect(client.status.state).toBe("reconnecting");
  });

  it("may be closed by a listener of its own end", async () => {
    const { client } = rig();
    client.on("status", ({ state }) => state === "reconnecting" && client.close());
    FakeSocket.last.open().hello();
    FakeSocket.last.end();
    await pass(100_000);
    expect(FakeSocket.all.length).toBe(1);
    expect(client.status).toEqual({ state: "offline" });
  });
});

describe("waking", () => {
  const page = new EventTarget() as EventTarget & { visibilityState: string };
  const world = new EventTarget();

  beforeEach(() => {
    vi.stubGlobal("document", page);
    vi.stubGlobal("addEventListener", world.addEventListener.bind(world));
    vi.stubGlobal("removeEventListener", world.removeEventListener.bind(world));
    page.visibilityState = "visible";
  });
  afterEach(() => vi.unstubAllGlobals());

  const wakers: [string, () => void][] = [
    ["online", () => world.dispatchEvent(new Event("online"))],
    ["pageshow", () => world.dispatchEvent(new Event("pageshow"))],
    ["visibilitychange", () => page.dispatchEvent(new Event("visibilitychange"))],
    ["resume", () => page.dispatchEvent(new Event("resume"))],
  ];

  it.each(wakers)("%s cuts a wait short", async (_, wake) => {
    const { client } = online();
    FakeSocket.last.end();
    expect(FakeSocket.all.length).toBe(1);
    wake();
    expect(FakeSocket.all.length).toBe(2);
    client.close();
    wake();
    expect(FakeSocket.all.length).toBe(2);
  });

  it.each(wakers)("%s asks for a sign of life, and soon", async (_, wake) => {
    const { client } = online({ probeTimeout: 3000 });
    await pass(10_000);
    wake();
    wake();
    expect(FakeSocket.last.commands("ping").length).toBe(1);
    await pass(2999);
    expect(client.status.state).toBe("online");
    await pass(1);
    expect(client.status.state).toBe("connecting");
    expect(FakeSocket.all.length).toBe(2);
    client.close();
  });

  it("leaves a connection that answers alone", async () => {
    const { client } = online();
    page.dispatchEvent(new Event("visibilitychange"));
    await pass(1000);
    FakeSocket.last.say({ type: "pong" });
    await pass(20_000);
    expect(FakeSocket.all.length).toBe(1);
    client.close();
  });

  it("does nothing when the tab is hidden", () => {
    const { client } = online();
    page.visibilityState = "hidden";
    page.dispatchEvent(new Event("visibilitychange"));
    expect(FakeSocket.last.commands("ping")).toEqual([]);
    client.close();
  });
});

describe("heartbeats", () => {
  it("go out as often as the gateway wants", async () => {
    rig();
    FakeSocket.last.open().hello({ ping: 10 });
    for (let n = 1; n <= 5; n++) {
      await pass(10_000);
      expect(FakeSocket.last.commands("ping").length).toBe(n);
      FakeSocket.last.say({ type: "pong" });
    }
    expect(FakeSocket.all.length).toBe(1);
  });

  it("find out a gateway that says nothing for twice that time", async () => {
    const { client } = rig();
    FakeSocket.last.open().hello({ ping: 10 });
    await pass(19_999);
    expect(client.status.state).toBe("online");
    await pass(1);
    expect(FakeSocket.all[0]!.closed).toBe(true);
    expect(client.status.state).toBe("connecting");
  });

  it("count whatever comes as a sign of life", async () => {
    rig();
    FakeSocket.last.open().hello({ ping: 10 });
    await pass(5000);
    for (let n = 0; n < 5; n++) {
      await pass(10_000);
      FakeSocket.last.say({ type: "something new" });
    }
    expect(FakeSocket.all.length).toBe(1);
  });

  it("do not judge a gateway by timers that slept", async () => {
    rig();
    FakeSocket.last.open().hello({ ping: 10 });
    await pass(10_000); // a ping is out
    vi.setSystemTime(Date.now() + 3_600_000); // the tab is frozen before the answer is read
    await pass(10_000);
    expect(FakeSocket.all.length).toBe(1);
    FakeSocket.last.say({ type: "pong" });
    await pass(9000);
    expect(FakeSocket.all.length).toBe(1);
  });

  it("stop with the connection", async () => {
    const { client } = online();
    FakeSocket.last.end(4000);
    await pass(100_000);
    expect(FakeSocket.last.sent).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
    client.close();
  });
});
