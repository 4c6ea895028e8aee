import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { begin, FakeSocket, finish, pass, rig } from "./fake.js";

beforeEach(begin);
afterEach(finish);

const inSeconds = (s: number) => Date.now() / 1000 + s;

describe("a token", () => {
  it("is shown first thing, and not in the address", async () => {
    rig({ token: "T" });
    FakeSocket.last.open();
    await pass();
    expect(FakeSocket.last.url).not.toContain("T");
    expect(FakeSocket.last.sent).toMatchObject([{ type: "connect", token: "T" }]);
    FakeSocket.last.hello();
    FakeSocket.last.reply(FakeSocket.last.command("connect"));
  });

  it("that is refused ends it, if there is no other", async () => {
    const { client } = rig({ token: "T" });
    FakeSocket.last.open();
    await pass();
    FakeSocket.last.error(FakeSocket.last.command("connect"), "unauthorized");
    expect(client.status).toEqual({ state: "offline", code: "unauthorized", reason: "it is unauthorized" });
    await pass(100_000);
    expect(FakeSocket.all.length).toBe(1);
  });

  it.each(["unavailable", "rate_limited"])("that cannot be looked at (%s) is shown again later", async (code) => {
    const { client } = rig({ token: "T" });
    FakeSocket.last.open();
    await pass();
    FakeSocket.last.error(FakeSocket.last.command("connect"), code, true);
    expect(client.status.state).toBe("reconnecting");
  });
});

describe("a callback for tokens", () => {
  it("is asked before the socket is made, and once only", async () => {
    const token = vi.fn(async () => "T1");
    const { states } = rig({ token });
    expect(FakeSocket.all.length).toBe(0);
    await pass();
    FakeSocket.last.open();
    await pass();
    FakeSocket.last.hello();
    FakeSocket.last.end();
    await pass(1000);
    FakeSocket.last.open();
    await pass();
    expect(FakeSocket.last.command("connect")["token"]).toBe("T1");
    expect(token).toHaveBeenCalledTimes(1);
    expect(states()).toEqual(["connecting", "online", "reconnecting", "connecting"]);
  });

  it("that fails is asked again after a back-off", async () => {
    const token = vi.fn(async () => "T").mockRejectedValueOnce(new Error("no network"));
    const { client } = rig({ token });
    await pass();
    expect(client.status.state).toBe("reconnecting");
    await pass(1000);
    expect(FakeSocket.all.length).toBe(1);
  });

  it("that has no token stops the client", async () => {
    const { client } = rig({ token: () => null });
    await pass();
    expect(client.status).toMatchObject({ state: "offline", code: "unauthorized" });
    expect(FakeSocket.all.length).toBe(0);
  });

  it("that never answers is given up like any attempt", async () => {
    const { client } = rig({ token: () => new Promise<string>(() => undefined) });
    await pass(10_000);
    expect(client.status.state).toBe("reconnecting");
  });

  it("that answers too late is not listened to", async () => {
    let late!: (token: string) => void;
    const token = vi.fn(async () => "T2").mockImplementationOnce(() => new Promise((resolve) => (late = resolve)));
    rig({ token });
    await pass(11_000);
    expect(FakeSocket.all.length).toBe(1);
    late("T1");
    await pass();
    expect(FakeSocket.all.length).toBe(1);
  });

  it("that says too late that there is no token ends nothing", async () => {
    const answers: ((token: string | null) => void)[] = [];
    const { client } = rig({ token: () => new Promise((resolve) => void answers.push(resolve)) });
    await pass(11_000);
    expect(answers.length).toBe(2); // the second attempt asks, too
    answers[0]!(null);
    await pass();
    expect(client.status.state).toBe("connecting");
    answers[1]!("T");
    await pass();
    expect(FakeSocket.all.length).toBe(1);
  });

  it.each([
    ["an error", (socket: FakeSocket) => socket.error(socket.command("connect"), "unauthorized")],
    ["close code 4001", (socket: FakeSocket) => socket.end(4001, "expired")],
  ])("is asked for another one after %s, but only once", async (_, refuse) => {
    let n = 0;
    const { client } = rig({ token: async () => `T${++n}` });
    await pass();
    FakeSocket.last.open();
    await pass();
    FakeSocket.last.hello();
    FakeSocket.last.end();
    await pass(1000);
    FakeSocket.last.open();
    await pass();
    expect(FakeSocket.last.command("connect")["token"]).toBe("T1");
    refuse(FakeSocket.last); // it expired while there was no connection
    await pass();
    FakeSocket.last.open();
    await pass();
    expect(FakeSocket.last.command("connect")["token"]).toBe("T2");
    refuse(FakeSocket.last);
    await pass(100_000);
    expect(client.status.state).toBe("offline");
    expect(n).toBe(2);
  });

  it("is asked again before the token ends, and shows the new one on the same connection", async () => {
    let n = 0;
    const { client } = rig({ token: async () => `T${++n}` });
    await pass();
    FakeSocket.last.open();
    await pass();
    FakeSocket.last.hello({ expires: inSeconds(600), ping: 1000 });
    FakeSocket.last.reply(FakeSocket.last.command("connect"));
    await pass(539_000);
    expect(n).toBe(1);
    await pass(1000);
    expect(n).toBe(2);
    const renewal = FakeSocket.last.command("connect");
    expect(renewal["token"]).toBe("T2");
    FakeSocket.last.reply(renewal, { expires: inSeconds(600) });
    await pass(539_000);
    expect(n).toBe(2);
    await pass(1000);
    expect(n).toBe(3);
    expect(FakeSocket.all.length).toBe(1);
    client.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is tried again, and faster, when the renewal fails", async () => {
    const token = vi.fn(async () => "T");
    rig({ token });
    await pass();
    FakeSocket.last.open();
    await pass();
    FakeSocket.last.hello({ expires: inSeconds(600), ping: 1000 });
    token.mockRejectedValue(new Error("no network"));
    await pass(540_000);
    expect(token).toHaveBeenCalledTimes(2);
    await pass(45_000);
    expect(token).toHaveBeenCalledTimes(3);
    token.mockResolvedValue("T9");
    await pass(12_000);
    expect(FakeSocket.last.command("connect")["token"]).toBe("T9");
  });

  it("is asked before connecting when the token at hand is about to end", async () => {
    let n = 0;
    rig({ token: async () => `T${++n}` });
    await pass();
    FakeSocket.last.open();
    await pass();
    FakeSocket.last.hello({ expires: inSeconds(100) });
    FakeSocket.last.end();
    vi.setSystemTime(Date.now() + 90_000);
    await pass(1000);
    FakeSocket.last.open();
    await pass();
    expect(FakeSocket.last.command("connect")["token"]).toBe("T2");
  });
});
