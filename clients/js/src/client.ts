// The client: one connection, the channels on it, and the queue of what goes out.
//
// Here the parts meet, and here is the whole interface for applications.  What always holds: after a break every
// subscription is taken up before anything that waits is sent, so that a client hears its own publications behind
// what it missed.

import { Channel, type Stand, type SubscribeOptions, type Subscription, type Surroundings } from "./channel.js";
import { Connection, type SocketClass } from "./connection.js";
import type { TokenSource } from "./credentials.js";
import { Direct } from "./direct.js";
import { Emitter } from "./emitter.js";
import type { RinggateError } from "./errors.js";
import { json } from "./json.js";
import { randomKey } from "./keys.js";
import { settingsOf, type Settings } from "./options.js";
import { Outbox } from "./outbox.js";
import type { Codec, Command, GatewayEvent, Member, Message, Position, Publication, Reply } from "./protocol.js";
import { errorOf, IGNORED } from "./requests.js";
import type { Status } from "./status.js";

export interface ClientOptions extends Partial<Settings> {
  /** A token, or a function (also an asynchronous one) that fetches one whenever one is needed. */
  token?: TokenSource;
  /** The encoding; JSON unless another is given. */
  codec?: Codec;
  /** The class of sockets, where there is no global one. */
  WebSocket?: unknown;
  /** Like Math.random. */
  random?: () => number;
}

export interface ClientEvents {
  status: Status;
  /** An app service subscribed this client to a channel. */
  subscription: Subscription;
  /** The gateway did not understand something; a fault of this client or of its version. */
  error: RinggateError;
}

export interface PublishOptions {
  /** Idempotency key; by default a random one. */
  key?: string;
  /** Milliseconds after which it is given up (the client's `ttl`); 0: it is sent now or not at all. */
  ttl?: number;
  signal?: AbortSignal;
}

export interface CallOptions {
  /** Milliseconds for which the answer is waited for (the client's `timeout`). */
  timeout?: number;
  /** Milliseconds for which it may wait for a connection (as `timeout`); 0: it is sent now or not at all. */
  ttl?: number;
  /** It may be carried out twice without harm: the call, or what is sent, is repeated if the connection ends. */
  repeat?: boolean;
  signal?: AbortSignal;
}

export interface HistoryOptions {
  limit?: number;
  /** Only offsets below it. */
  before?: number;
  signal?: AbortSignal;
}

export interface History extends Omit<Position, "id" | "mark"> {
  publications: Publication[];
  /** Nothing older is kept. */
  complete: boolean;
}

const IDS = 9; // of its connections, this one included: the gateway takes some earlier ones

export class Client extends Emitter<ClientEvents> {
  /** What was set, and else what holds by itself. */
  readonly settings: Readonly<Settings>;
  readonly #connection: Connection;
  readonly #outbox: Outbox;
  readonly #channels = new Map<string, Channel>();
  readonly #around: Surroundings;
  readonly #direct: Direct;
  readonly #ids: string[] = [];
  #session = "";

  /** `url` is the gateway's `/ws`, also relative to the page; a function is asked at each attempt. */
  constructor(url: string | (() => string), options: ClientOptions = {}) {
    super();
    const WebSocket = (options.WebSocket ?? globalThis.WebSocket) as SocketClass | undefined;
    if (!WebSocket) throw new TypeError("there is no WebSocket here: give one as the option WebSocket");
    const random = options.random ?? Math.random;
    const settings = (this.settings = settingsOf(options));
    this.#connection = new Connection(
      {
        url: () => addressOf(typeof url === "function" ? url() : url),
        token: options.token,
        codec: options.codec ?? json,
        WebSocket,
        settings,
        random,
      },
      {
        greet: (hello) => this.#greet(hello),
        down: (code) => this.#down(code),
        event: (event) => this.#event(event),
        status: (status) => this.emit("status", status),
      },
    );
    const { requests } = this.#connection;
    this.#outbox = new Outbox(requests, settings.maxQueued, random);
    this.#around = {
      requests,
      random,
      online: () => this.#connection.online,
      earlier: () => this.#ids.slice(0, -1),
      gone: (channel) => {
        if (this.#channels.get(channel.name) === channel) this.#channels.delete(channel.name);
      },
    };
    this.#direct = new Direct(this.#around);
  }

  /** What to show of the connection; `on("status", …)` tells of every change. */
  get status(): Status {
    return this.#connection.status;
  }

  /** What app services send to this user, or to this one client. */
  get direct(): Subscription {
    return this.#direct.listen();
  }

  /** How many commands wait, for a connection or for their answers. */
  get queued(): number {
    return this.#outbox.size;
  }

  /** Connect, and stay connected; where an attempt is waited for, make it now. */
  connect(): this {
    this.#connection.connect();
    return this;
  }

  /** Disconnect, and break off whatever waits.  `connect` takes the subscriptions up again. */
  close(): void {
    this.#connection.close();
    this.#outbox.clear();
  }

  /** It may be worth trying now: for surroundings that do not tell it by `online` or `visibilitychange`. */
  wake(): void {
    this.#connection.wake();
  }

  /** Hear a channel; any number of handles share one subscription. */
  subscribe(
    channel: string,
    listener?: ((message: Message) => void) | null,
    options: SubscribeOptions = {},
  ): Subscription {
    const known = this.#channels.get(channel);
    const entry = known ?? new Channel(channel, this.#around);
    const handle = entry.join(options);
    if (listener) handle.on("message", listener);
    this.#channels.set(channel, entry);
    if (!known && this.#connection.online) entry.subscribe();
    return handle;
  }

  /**
   * Publish, now or as soon as there is a connection.  The publication happens once, however often the connection
   * breaks, or the promise is broken; then `unknown` says whether it may have happened.
   */
  publish(channel: string, data: unknown, options: PublishOptions = {}): Promise<Omit<Position, "id" | "mark"> & { duplicate?: boolean }> {
    const { key = randomKey(), ttl = this.settings.ttl, signal } = options;
    return this.#outbox.add({ type: "publish", channel, data, key }, { ttl, repeat: true, signal });
  }

  /** Call a method of the app service; the promise is kept by what it answers. */
  call<Answer = unknown>(method: string, payload: unknown = null, options: CallOptions = {}): Promise<Answer> {
    return this.#consult({ type: "call", method, payload, timeout: options.timeout ?? this.settings.timeout }, options);
  }

  /** Say something to the app service; kept once what it wanted is done, by what it answers, if anything. */
  send<Answer = unknown>(data: unknown, options: CallOptions = {}): Promise<Answer> {
    return this.#consult({ type: "send", data }, options);
  }

  async #consult<Answer>(command: Command, options: CallOptions): Promise<Answer> {
    const { timeout = this.settings.timeout, ttl = timeout, repeat = false, signal } = options;
    const reply = await this.#outbox.add(command, { ttl: ttl && ttl + timeout, timeout, repeat, signal });
    return reply["payload"] as Answer;
  }

  /** Ask who is subscribed to a channel now; for a live list see `subscribe` with `presence`. */
  async presence(channel: string, signal?: AbortSignal): Promise<Member[]> {
    const reply = await this.request({ type: "presence", channel }, true, undefined, signal);
    return reply.members ?? [];
  }

  /** Read what a channel keeps, oldest first. */
  async history(channel: string, { signal, ...which }: HistoryOptions = {}): Promise<History> {
    const reply = await this.request({ type: "history", channel, ...which }, true, undefined, signal);
    const { epoch, offset, publications = [], complete = false } = reply;
    return { epoch, offset, publications, complete };
  }

  /** For modules beside this one: a command of any type, repeated after a break if that does no harm. */
  request(command: Command, repeat = false, ttl = this.settings.timeout, signal?: AbortSignal): Promise<Reply> {
    return this.#outbox.add(command, { ttl, repeat, signal });
  }

  // ---- what the connection tells ----

  #greet(hello: GatewayEvent): void {
    const lost = this.#session;
    this.#ids.push(String(hello["client"]));
    if (this.#ids.length > IDS) this.#ids.shift();
    this.#direct.open(hello["user"] as string | undefined);
    this.#session = String(hello["session"]);
    if (lost && [...this.#channels.values()].some((channel) => channel.byService)) this.#takeUp(lost);
    else this.#begin();
  }

  #begin(): void {
    for (const channel of this.#channels.values()) if (!channel.live) channel.subscribe();
    this.#outbox.open();
  }

  /** Resume by session: the only way to get back what an app service subscribed. */
  #takeUp(session: string): void {
    const since: Record<string, Position> = {};
    for (const channel of this.#channels.values()) if (channel.since) since[channel.name] = channel.sinceWith(channel.since);
    this.#connection.requests.send(
      { type: "connect", session, since },
      {
        reply: (reply) => {
          this.#session = reply.session ?? this.#session;
          for (const entry of reply.subscriptions ?? []) this.#tookUp(entry.channel, entry, since[entry.channel] ?? null);
          this.#begin();
        },
        fail: (error) => error.code !== "disconnected" && this.#begin(), // the session is gone: one by one
      },
    );
  }

  #tookUp(name: string, stand: Stand, since: Position | null): void {
    const channel = this.#channels.get(name);
    if (channel) channel.confirmed(stand, since);
    else this.#connection.requests.send({ type: "unsubscribe", channel: name }, IGNORED);
  }

  #down(code: number): void {
    for (const channel of this.#channels.values()) channel.down();
    this.#direct.down();
    this.#outbox.shut(code === 1009);
  }

  #event(event: GatewayEvent): void {
    if (event.type === "error") return this.emit("error", errorOf(event));
    const name = event.channel;
    if (name === undefined) return; // an event that this version does not know
    const channel = this.#channels.get(name);
    if (channel) channel.event(event);
    else if (event.type === "subscribed") this.#subscribed(event);
    else if (name.startsWith("@")) this.#direct.event(event);
  }

  #subscribed(event: GatewayEvent): void {
    const channel = new Channel(event.channel!, this.#around);
    const handle = channel.join({});
    channel.byService = true;
    this.#channels.set(channel.name, channel);
    this.emit("subscription", handle);
    channel.event(event);
  }
}

function addressOf(url: string): string {
  const page = (globalThis as { location?: Location }).location?.href;
  return new URL(url, page).href.replace(/^http/, "ws");
}
