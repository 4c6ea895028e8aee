// A gateway for tests: sockets that do what the test says, and remember what was sent on them.

import { vi } from "vitest";
import { Client, type ClientOptions, type Command, type Status } from "../src/index.js";

export class FakeSocket {
  static all: FakeSocket[] = [];
  binaryType = "";
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  sent: Command[] = [];
  closed = false;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    return FakeSocket.all.at(-1)!;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Command);
  }

  close(): void {
    this.closed = true;
  }

  /** The handshake is over. */
  open(): this {
    this.onopen?.();
    return this;
  }

  say(event: object): void {
    this.onmessage?.({ data: JSON.stringify(event) });
  }

  hello(more: object = {}): this {
    const n = FakeSocket.all.length;
    this.say({ type: "hello", client: `c${n}`, session: `s${n}`, ping: 30, ...more });
    return this;
  }

  /** The last command of that type, or the one for that channel. */
  command(type: string, channel?: string): Command {
    const found = [...this.sent].reverse().find((each) => each.type === type && (!channel || each.channel === channel));
    if (!found) throw new Error(`no ${type} was sent: ${JSON.stringify(this.sent)}`);
    return found;
  }

  commands(type: string): Command[] {
    return this.sent.filter((each) => each.type === type);
  }

  reply(command: Command, fields: object = {}): void {
    this.say({ type: "reply", id: command.id, ...fields });
  }

  error(command: Command, code: string, retry = false): void {
    this.say({ type: "error", id: command.id, code, message: `it is ${code}`, retry });
  }

  end(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }

  /** Confirm a subscription, from its beginning on or as `fields` say. */
  confirm(channel: string, fields: object = {}): void {
    this.reply(this.command("subscribe", channel), { channel, epoch: "e", offset: 0, ...fields });
  }

  message(channel: string, offset: number, data: unknown = offset): void {
    this.say({ type: "message", channel, offset, id: `${channel}-${offset}`, data, time: 0 });
  }
}

export interface Rig {
  client: Client;
  statuses: Status[];
  /** States only, without what repeats. */
  states(): string[];
}

const WAITS = { backoffFirst: 1000, backoffMost: 15_000 };

/** A client that is connecting, without jitter: every wait is the whole of its bound. */
export function rig(options: ClientOptions = {}, url: string | (() => string) = "ws://gateway/ws"): Rig {
  const client = new Client(url, { WebSocket: FakeSocket, random: () => 1, ...WAITS, ...options });
  const statuses: Status[] = [];
  client.on("status", (status) => statuses.push(status));
  client.connect();
  const states = () => statuses.map(({ state }) => state).filter((state, i, all) => state !== all[i - 1]);
  return { client, statuses, states };
}

/** A client that is online. */
export function online(options: ClientOptions = {}): Rig {
  const made = rig(options);
  FakeSocket.last.open().hello();
  return made;
}

/** Settle what waits on promises, and let `ms` pass. */
export async function pass(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

/** Let time pass until the client has made its next socket, and greet it. */
export async function nextConnection(): Promise<void> {
  const made = FakeSocket.all.length;
  while (FakeSocket.all.length === made) await pass(100);
  FakeSocket.last.open().hello();
}

/** For beforeEach and afterEach. */
export function begin(): void {
  vi.useFakeTimers();
  FakeSocket.all = [];
}

export function finish(): void {
  vi.useRealTimers();
}

/** Return what a promise was rejected with. */
export async function failure(promise: Promise<unknown>): Promise<{ code: string; unknown: boolean; retry: boolean }> {
  return promise.then(
    (value) => {
      throw new Error(`it was kept: ${JSON.stringify(value)}`);
    },
    (error: { code: string; unknown: boolean; retry: boolean }) => error,
  );
}
