// A small client of the ringgate.v1.json protocol: it reconnects, resumes and loses nothing.
//
// It knows nothing of the page.  What always holds: every message of a channel is handed on at most
// once and in order; a publication is repeated with the same key until it is answered, so
// that it happens exactly once; after a break the channel goes on where it stopped, or says so.

const BACKOFF_MS = { first: 500, most: 10_000 };
const RETRY_MS = 2000; // until a publication that may work later is tried again

export class GatewayClient {
  #url;
  #onStatus;
  #socket = null;
  #nextId = 1;
  #waiting = new Map(); // id -> { resolve, reject } of a command on this socket
  #channels = new Map(); // name -> { position, handlers }
  #outbox = new Map(); // key -> { command, resolve, reject }: publications not answered yet
  #attempt = 0;
  #retryTimer = 0;
  #pingTimer = 0;
  #heardAt = 0;
  #announced = null; // delay that the gateway asked for in a "reconnect" event

  client = "";
  user = "";

  // `url` is a function, asked at each attempt; `onStatus` gets { state, retryAt? , reason? } with state
  // "connecting", "online", "waiting" (for the next attempt) or "stopped" (until `start` is called).
  constructor(url, onStatus) {
    this.#url = url;
    this.#onStatus = onStatus;
  }

  start() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#onStatus({ state: "connecting" });
    const socket = new WebSocket(this.#url(), ["ringgate.v1.json"]);
    this.#socket = socket;
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
  }

  // Handlers: message(event), opened({ lost }) when the channel starts afresh (lost: messages may be missing),
  // resumed() when nothing was missed, and other(event) for join, leave and gap.
  subscribe(channel, handlers) {
    this.#channels.set(channel, { position: null, handlers });
    if (this.client) this.#open(channel);
  }

  position(channel) {
    return this.#channels.get(channel)?.position ?? null;
  }

  publish(channel, data, key) {
    return new Promise((resolve, reject) => {
      const entry = { command: { type: "publish", channel, data, key }, resolve, reject };
      this.#outbox.set(key, entry);
      if (this.client) this.#post(key, entry);
    });
  }

  // Send a command; the promise is kept by its reply, or broken by its error or the end of the connection.
  command(fields) {
    return new Promise((resolve, reject) => {
      if (!this.client) return reject(new Error("not connected"));
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve, reject });
      this.#send({ ...fields, id });
    });
  }

  #send(value) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(value));
  }

  #post(key, entry) {
    this.command(entry.command).then(
      (reply) => {
        this.#outbox.delete(key);
        entry.resolve(reply);
      },
      (error) => {
        if (!error.code) return; // the connection ended: it is repeated on the next one
        if (error.retry) return void setTimeout(() => this.#outbox.has(key) && this.#post(key, entry), RETRY_MS);
        this.#outbox.delete(key);
        entry.reject(error);
      },
    );
  }

  async #open(channel) {
    const entry = this.#channels.get(channel);
    const since = entry.position;
    try {
      const reply = await this.command({ type: "subscribe", channel, ...(since && { since }) });
      if (since && reply.recovered) return entry.handlers.resumed?.();
      entry.position = { epoch: reply.epoch, offset: reply.offset };
      entry.handlers.opened?.({ lost: Boolean(since) });
    } catch (error) {
      if (error.code) entry.handlers.refused?.(error);
    }
  }

  #receive(text) {
    this.#heardAt = Date.now();
    const event = JSON.parse(text);
    const waiting = this.#waiting.get(event.id);
    switch (event.type) {
      case "hello":
        return this.#hello(event);
      case "reply":
        this.#waiting.delete(event.id);
        return waiting?.resolve(event);
      case "error":
        this.#waiting.delete(event.id);
        return waiting?.reject(Object.assign(new Error(event.message), { code: event.code, retry: event.retry }));
      case "message":
        return this.#message(event);
      case "reconnect":
        this.#announced = event.after;
        return undefined;
      default:
        return this.#channels.get(event.channel)?.handlers.other?.(event);
    }
  }

  #hello(event) {
    this.client = event.client;
    this.user = event.user ?? "";
    this.#attempt = 0;
    this.#onStatus({ state: "online" });
    for (const channel of this.#channels.keys()) this.#open(channel);
    for (const [key, entry] of this.#outbox) this.#post(key, entry);
    const pingMs = (event.ping || 30) * 1000;
    this.#pingTimer = setInterval(() => {
      if (Date.now() - this.#heardAt > 2 * pingMs) this.#lost(4201, "nothing was heard from the gateway");
      else this.#send({ type: "ping" });
    }, pingMs);
  }

  #message(event) {
    const entry = this.#channels.get(event.channel);
    if (!entry) return;
    if (entry.position) {
      if (event.offset <= entry.position.offset) return; // seen already
      entry.position.offset = event.offset;
    }
    entry.handlers.message?.(event);
  }

  #lost(code, reason) {
    this.#drop();
    if (code >= 4000 && code < 4100) return this.#onStatus({ state: "stopped", reason });
    const delayMs = this.#delay(code);
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.start(), delayMs);
    return this.#onStatus({ state: "waiting", retryAt: Date.now() + delayMs });
  }

  #delay(code) {
    const announced = this.#announced;
    this.#announced = null;
    if (announced) return announced[0] + Math.random() * (announced[1] - announced[0]);
    if (code >= 4200 && code < 4300 && this.#attempt === 0) return Math.random() * BACKOFF_MS.first;
    const limit = Math.min(BACKOFF_MS.first * 2 ** this.#attempt, BACKOFF_MS.most);
    return limit / 2 + (Math.random() * limit) / 2;
  }

  // Forget the socket, if there is one; what waits on it is broken off.
  #drop() {
    clearInterval(this.#pingTimer);
    this.client = "";
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const broken = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of broken) reject(new Error("the connection ended"));
  }
}
