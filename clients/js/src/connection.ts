// The connection: it carries out what the table of machine.ts says.
//
// It knows sockets, tokens and timers, and nothing of channels.  What always holds: at most one socket is in use,
// and nothing of an earlier one is heard any more; `greet` and `down` alternate.

import { advisedMs, delayMs, verdictOf, type Verdict } from "./backoff.js";
import { Credentials, type TokenSource } from "./credentials.js";
import type { RinggateError } from "./errors.js";
import { Heartbeat } from "./heartbeat.js";
import { step, type Effect, type Input, type State } from "./machine.js";
import type { Settings } from "./options.js";
import type { Codec, GatewayEvent, Reply } from "./protocol.js";
import { Requests, type Encoded } from "./requests.js";
import { StatusStream, type Details, type Status } from "./status.js";
import { watchWake } from "./wake.js";

/** What is needed of a WebSocket: browsers', Node's own, and that of the package `ws` have it. */
export interface Socket {
  binaryType: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

export type SocketClass = new (url: string, protocols: string[]) => Socket;

export interface ConnectionOptions {
  url: string | (() => string);
  token: TokenSource | undefined;
  codec: Codec;
  WebSocket: SocketClass;
  settings: Settings;
  random: () => number;
}

/** Who is told of what happens. */
export interface Listener {
  /** The gateway said hello; commands can be sent. */
  greet(hello: GatewayEvent): void;
  /** The connection, which had said hello, ended with this close code. */
  down(code: number): void;
  event(event: GatewayEvent): void;
  status(status: Status): void;
}

const STABLE_MS = 5000; // so long a connection has to hold to be worth another attempt at once
const UNAUTHORIZED = 4001;
const NO_CODE = 1006; // what ended without a close frame: RFC 6455 section 7.1.5

export class Connection {
  readonly requests: Requests;
  readonly #options: ConnectionOptions;
  readonly #listener: Listener;
  readonly #credentials: Credentials;
  readonly #heartbeat: Heartbeat;
  readonly #status: StatusStream;
  #state: State = "idle";
  #socket: Socket | null = null;
  #attempt = 0;
  #asked = 0; // counts attempts, so that what comes late for an earlier one is known
  #onlineAt = 0;
  #advice: readonly [number, number] | null = null;
  #endCode = NO_CODE;
  #expires: number | undefined;
  #hello: GatewayEvent | undefined;
  #greeted = false;
  #details: Details = { client: "", retryAt: 0 };
  #retry: ReturnType<typeof setTimeout> | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #unwatch: (() => void) | undefined;

  constructor(options: ConnectionOptions, listener: Listener) {
    this.#options = options;
    this.#listener = listener;
    this.#credentials = new Credentials(options.token);
    this.requests = new Requests(options.codec, (message) => this.#post(message));
    this.#status = new StatusStream((status) => listener.status(status));
    this.#heartbeat = new Heartbeat({
      ping: () => this.#post(options.codec.encode({ type: "ping" })),
      silent: () => this.#end("again", NO_CODE, "nothing was heard from the gateway"),
      probeMs: options.settings.probeTimeout,
    });
  }

  get status(): Status {
    return this.#status.status;
  }

  get online(): boolean {
    return this.#state === "online";
  }

  connect(): void {
    this.#unwatch ??= watchWake(() => this.wake());
    this.#input("connect");
  }

  close(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#input("close");
  }

  /** It may be worth trying now: connect at once, or see whether the connection is still alive. */
  wake(): void {
    this.#input("wake");
  }

  // ---- the machine ----

  #input(input: Input): void {
    const result = step(this.#state, input);
    if (!result) return;
    this.#state = result.next;
    if (input === "connect" || input === "wake") this.#attempt = 0;
    if (result.next !== "asking" && result.next !== "opening") clearTimeout(this.#deadline);
    const at = this.#asked;
    for (const effect of result.effects) {
      this.#carryOut(effect);
      if (at !== this.#asked || this.#state !== result.next) return; // an effect led further by itself
    }
    this.#status.show(this.#state, this.#details);
  }

  #carryOut(effect: Effect): void {
    switch (effect) {
      case "ask":
        return this.#ask();
      case "open":
        return this.#open();
      case "greet":
        return this.#greet();
      case "drop":
        return this.#drop();
      case "wait":
        return this.#wait();
      case "rest":
        return clearTimeout(this.#retry);
      case "probe":
        return this.#heartbeat.probe();
    }
  }

  /** An attempt or a connection is over.  `renewed`: the next one will be another, with another token. */
  #end(verdict: Verdict, code: number | string, reason: string, renewed = false): void {
    if (this.#onlineAt && Date.now() - this.#onlineAt >= STABLE_MS) this.#attempt = 0;
    if (verdict === "again" && !renewed) {
      if (this.#attempt) verdict = "lost"; // or it would spin
      this.#attempt ||= 1;
    }
    this.#endCode = typeof code === "number" ? code : NO_CODE;
    this.#details = { ...this.#details, code, reason };
    this.#input(verdict);
  }

  // ---- what it does ----

  #ask(): void {
    const attempt = ++this.#asked;
    const current = () => attempt === this.#asked && this.#state === "asking";
    this.#onlineAt = 0;
    this.#advice = null;
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(
      () => this.#end("lost", NO_CODE, "no connection in time"),
      this.#options.settings.connectTimeout,
    );
    this.#status.show("asking", this.#details);
    if (!this.#credentials.asks) return this.#input("token");
    this.#credentials.get().then(
      (token) => {
        if (!current()) return;
        if (token === null) this.#end("refused", "unauthorized", "there is no token");
        else this.#input("token");
      },
      (error: unknown) => current() && this.#end("lost", "unauthorized", String(error)),
    );
  }

  #open(): void {
    const { url, codec, WebSocket } = this.#options;
    let socket: Socket;
    try {
      socket = new WebSocket(typeof url === "function" ? url() : url, [codec.protocol]);
    } catch (error) {
      return this.#end("refused", "bad_request", String(error)); // what is no address
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#present().catch((error) => this.#end("lost", "unauthorized", String(error)));
    };
    socket.onmessage = ({ data }: MessageEvent) => this.#receive(data as string | ArrayBuffer);
    socket.onclose = ({ code, reason }: CloseEvent) => this.#closed(code, reason);
    socket.onerror = () => undefined; // `close` follows, and `ws` wants a listener
  }

  /** Show the token on the socket that there is; also to renew it. */
  async #present(renew = false): Promise<void> {
    const socket = this.#socket;
    const token = await this.#credentials.get(renew);
    if (socket !== this.#socket || typeof token !== "string") return;
    this.requests.send(
      { type: "connect", token },
      {
        reply: (reply: Reply) => this.#accepted(reply.expires ?? this.#expires),
        fail: (error) => this.#unaccepted(error),
      },
    );
  }

  #accepted(expires: number | undefined): void {
    this.#expires = expires;
    this.#credentials.accepted(expires, () => {
      this.#present(true).catch(() => this.#accepted(expires)); // it is tried again before the end
    });
  }

  #unaccepted(error: RinggateError): void {
    if (error.code === "disconnected") return;
    const another = error.code === "unauthorized" && this.#credentials.refused();
    this.#end(another ? "again" : error.retry ? "lost" : "refused", error.code, error.message, another);
  }

  #closed(code: number, reason: string): void {
    this.#socket = null; // it is over already
    const verdict = verdictOf(code);
    const another = code === UNAUTHORIZED && this.#credentials.refused();
    if (another) this.#end("again", code, reason, true);
    else this.#end(this.#advice && verdict === "again" ? "lost" : verdict, code, reason);
  }

  #receive(data: string | ArrayBuffer): void {
    this.#heartbeat.heard();
    let event: GatewayEvent;
    try {
      event = this.#options.codec.decode(data);
    } catch {
      return this.#end("lost", NO_CODE, "the gateway sent what is not understood");
    }
    if (event.type === "hello") this.#letIn(event);
    else if (event.type === "reply" || (event.type === "error" && event.id !== undefined)) this.requests.settle(event);
    else if (event.type === "reconnect") this.#advice = event["after"] as [number, number];
    else if (event.type !== "pong") this.#listener.event(event);
  }

  #letIn(event: GatewayEvent): void {
    this.#details = {
      client: String(event["client"]),
      user: event["user"] as string | undefined,
      retryAt: 0,
    };
    this.#accepted(event["expires"] as number | undefined);
    this.#heartbeat.start(((event["ping"] as number) || 30) * 1000);
    this.#hello = event;
    this.#input("hello");
  }

  #greet(): void {
    this.#onlineAt = Date.now();
    this.#greeted = true;
    this.#status.show("online", this.#details);
    this.#listener.greet(this.#hello!);
  }

  #post(message: Encoded): void {
    this.#socket?.send(message);
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#heartbeat.stop();
    this.#credentials.rest();
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.requests.drop();
    const greeted = this.#greeted;
    this.#greeted = false;
    if (greeted) this.#listener.down(this.#endCode);
  }

  #wait(): void {
    const { settings, random } = this.#options;
    const backoff = { first: settings.backoffFirst, most: settings.backoffMost };
    const delay = this.#advice ? advisedMs(this.#advice, random) : delayMs(this.#attempt, backoff, random);
    this.#advice = null;
    this.#attempt += 1;
    this.#details = { ...this.#details, retryAt: Date.now() + delay };
    this.#retry = setTimeout(() => this.#input("timer"), delay);
  }
}
