import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { begin, FakeSocket, finish, online, pass } from "./fake.js";

beforeEach(begin);
afterEach(finish);

function room() {
  const { client } = online();
  const told: unknown[] = [];
  const chat = client.subscribe("chat", null, { presence: true });
  chat.on("join", ({ client: id }) => told.push(`+${id}`));
  chat.on("leave", ({ client: id }) => told.push(`-${id}`));
  chat.on("members", (members) => told.push([...members.keys()].join()));
  FakeSocket.last.confirm("chat");
  const answer = (...ids: string[]) =>
    FakeSocket.last.reply(FakeSocket.last.command("presence"), { members: ids.map((id) => ({ client: id, user: id })) });
  const change = (type: string, id: string) => FakeSocket.last.say({ type, channel: "chat", client: id, user: id });
  return { client, chat, told, answer, change };
}

describe("a member list", () => {
  it("begins with who is there, and lives", () => {
    const { told, answer, change, chat } = room();
    answer("ada", "bob");
    change("join", "cyd");
    change("leave", "ada");
    expect(told).toEqual(["+ada", "+bob", "ada,bob", "+cyd", "ada,bob,cyd", "-ada", "bob,cyd"]);
    expect(chat.members.get("cyd")).toEqual({ client: "cyd", user: "cyd" });
  });

  it("tells nothing twice", () => {
    const { told, answer, change } = room();
    answer("ada");
    change("join", "ada");
    change("leave", "bob");
    expect(told).toEqual(["+ada", "ada"]);
  });

  it("believes a leave that overtook the snapshot", () => {
    const { told, answer, change, chat } = room();
    change("leave", "bob");
    change("join", "cyd");
    answer("ada", "bob");
    expect([...chat.members.keys()]).toEqual(["ada", "cyd"]);
    expect(told).toEqual(["+cyd", "cyd", "+ada", "ada,cyd"]);
  });

  it("is compared anew after a break, and tells the difference only", async () => {
    const { told, answer, chat } = room();
    answer("ada", "bob");
    told.length = 0;
    FakeSocket.last.end();
    await pass(1000);
    FakeSocket.last.open().hello();
    FakeSocket.last.confirm("chat", { recovered: true });
    answer("bob", "cyd");
    expect(told).toEqual(["+cyd", "-ada", "bob,cyd"]);
    expect([...chat.members.keys()]).toEqual(["bob", "cyd"]);
  });

  it("can be wanted by a second handle only", () => {
    const { client } = online();
    client.subscribe("chat");
    FakeSocket.last.confirm("chat");
    expect(FakeSocket.last.commands("presence")).toEqual([]);
    client.subscribe("chat", null, { presence: true });
    expect(FakeSocket.last.commands("presence").length).toBe(1);
  });

  it("stays empty where the namespace keeps none", () => {
    const { chat } = room();
    FakeSocket.last.error(FakeSocket.last.command("presence"), "bad_request");
    expect(chat.members.size).toBe(0);
    expect(chat.active).toBe(true);
  });

  it("can be read once, without a subscription", async () => {
    const { client } = online();
    const members = client.presence("chat");
    FakeSocket.last.reply(FakeSocket.last.command("presence"), { channel: "chat", members: [{ client: "c9" }] });
    expect(await members).toEqual([{ client: "c9" }]);
  });
});
