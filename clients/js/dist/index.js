// src/backoff.ts
var RETRY = { first: 500, most: 1e4 };
function verdictOf(code) {
  if (code >= 4e3 && code < 4100) return "refused";
  return code >= 4200 && code < 4300 ? "again" : "lost";
}
function delayMs(attempt, { first, most }, random) {
  return random() * Math.min(most, first * 2 ** Math.min(attempt, 30));
}
function advisedMs([least, most], random) {
  return least + random() * Math.max(0, most - least);
}

// src/emitter.ts
var Emitter = class {
  #listeners = /* @__PURE__ */ new Map();
  /** Call `listener` at each such event; the function that is returned ends that. */
  on(name, listener) {
    const own = (value) => listener(value);
    let listeners = this.#listeners.get(name);
    if (!listeners) this.#listeners.set(name, listeners = /* @__PURE__ */ new Set());
    listeners.add(own);
    return () => void listeners.delete(own);
  }
  /** For the client itself: tell everybody who listens now. */
  emit(name, value) {
    for (const listener of [...this.#listeners.get(name) ?? []]) {
      if (this.#listeners.get(name).has(listener)) guarded(() => listener(value));
    }
  }
};
function guarded(callback) {
  try {
    callback();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

// src/codes.ts
var ERROR_CODES = {
  bad_request: false,
  // the command or request is malformed
  unauthorized: false,
  // no credentials, or not valid ones
  permission_denied: false,
  // the caller may not do this here
  unknown_channel: false,
  // no such channel, or the namespace is not configured
  already_subscribed: false,
  // this connection is subscribed to the channel already
  not_subscribed: false,
  // this connection is not subscribed to the channel
  limit_exceeded: false,
  // a bound of size or number was reached
  rate_limited: true,
  // too many in too short a time
  stale_version: false,
  // the update was based on a version that is no longer current
  timeout: true,
  // no answer in time; the outcome is unknown
  unavailable: true,
  // the broker or the app service cannot be reached now
  internal: true
  // an error inside the gateway; its log has the details
};
var CLOSE_CODES = {
  1e3: "normal",
  // the client closed, and is answered
  1001: "going_away",
  // sent by browsers when a page is left
  1002: "protocol_error",
  // a frame broke RFC 6455 or RFC 7692
  1003: "unsupported_data",
  // a binary message where the subprotocol has text, or the reverse
  1007: "invalid_payload",
  // text that is not UTF-8, or compressed data that does not inflate
  1008: "policy_violation",
  // a bound on fragments or on the time of one message was reached, or a limit by a connection that is passed through or a GRIP service's
  1009: "message_too_big",
  // a message is larger than the configured bound
  1011: "internal_error",
  // an error inside the gateway
  1012: "service_restart",
  // of a connection that is passed through or a GRIP service's: its service is gone, or knows it no more, or the gateway is stopping
  4e3: "misuse",
  // frames that hold no commands at all, again and again
  4001: "unauthorized",
  // the token is missing, wrong or expired
  4002: "forbidden",
  // the app service refused this client
  4003: "no_credentials",
  // no credentials came within the deadline
  4004: "disconnected",
  // the app service asked for this client to be disconnected
  4100: "over_capacity",
  // a bound on connections was reached
  4101: "server_error",
  // the gateway cannot serve this client now
  4102: "rate_limited",
  // the client went on sending too much although it was told so
  4200: "slow_consumer",
  // the client read too slowly for a channel whose policy is disconnect
  4201: "no_pong",
  // nothing was heard from the client in time
  4202: "drain",
  // the gateway is stopping or moving its clients elsewhere
  4203: "state_lost"
  // what the gateway knew of this session is gone
};

// src/errors.ts
var LOCAL_CODES = {
  aborted: false,
  // by the AbortSignal that the application gave
  closed: false,
  // the application closed the client
  disconnected: true,
  // the connection ended before the answer came
  expired: true,
  // it waited longer than its time to live
  queue_full: true
  // as many commands wait already as may
};
var RinggateError = class extends Error {
  /** `code` is one of ErrorCode, or one that a newer gateway knows; `retry`: the same may work later. */
  constructor(code, message = code, retry = retriable(code), unknown = false, event = {}) {
    super(message);
    this.code = code;
    this.retry = retry;
    this.unknown = unknown;
    this.event = event;
  }
  code;
  retry;
  unknown;
  event;
  name = "RinggateError";
};
function retriable(code) {
  return { ...ERROR_CODES, ...LOCAL_CODES }[code] ?? false;
}

// src/presence.ts
var Presence = class {
  #listener;
  #members = /* @__PURE__ */ new Map();
  #since = null;
  constructor(listener) {
    this.#listener = listener;
  }
  /** Who is there, by client id. */
  get members() {
    return this.#members;
  }
  /** A snapshot was asked for. */
  asked() {
    this.#since = [];
  }
  /** It came, or (with nothing) will not come. */
  answered(members) {
    const since = this.#since ?? [];
    this.#since = null;
    if (!members) return;
    const next = new Map(members.map((member) => [member.client, member]));
    for (const event of since) apply(next, event);
    this.#replace(next);
  }
  /** A `join` or `leave` came. */
  change(event) {
    this.#since?.push(event);
    const next = new Map(this.#members);
    apply(next, event);
    this.#replace(next);
  }
  #replace(next) {
    const before = this.#members;
    this.#members = next;
    const joined = [...next.values()].filter(({ client }) => !before.has(client));
    const left = [...before.values()].filter(({ client }) => !next.has(client));
    for (const member of joined) this.#listener.joined(member);
    for (const member of left) this.#listener.left(member);
    if (joined.length + left.length) this.#listener.changed(next);
  }
};
function apply(members, event) {
  const { type, channel: _, ...member } = event;
  if (type === "join") members.set(member["client"], member);
  else members.delete(member["client"]);
}

// src/requests.ts
var IGNORED = { reply: () => void 0, fail: () => void 0 };
var Requests = class {
  #codec;
  #post;
  #waiting = /* @__PURE__ */ new Map();
  #last = 0;
  constructor(codec, post) {
    this.#codec = codec;
    this.#post = post;
  }
  /** Number and encode a command; the id stays its own on every connection.  Throws what the encoder throws. */
  encode(command) {
    const id = ++this.#last;
    return { id, message: this.#codec.encode({ ...command, id }) };
  }
  /** Send what `encode` gave. */
  start(id, message, answer) {
    this.#waiting.set(id, answer);
    this.#post(message);
  }
  /** Encode and send; only while there is a connection. */
  send(command, answer) {
    const { id, message } = this.encode(command);
    this.start(id, message, answer);
  }
  /** Hand on a `reply` or an `error`; nobody may be waiting for it any more. */
  settle(event) {
    const answer = this.#waiting.get(event.id);
    this.#waiting.delete(event.id);
    if (!answer) return;
    if (event.type === "reply") answer.reply(event);
    else answer.fail(errorOf(event));
  }
  /** Nobody waits for the answer to this command any more. */
  forget(id) {
    this.#waiting.delete(id);
  }
  /** The connection ended: break off whatever waits. */
  drop() {
    const broken = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const answer of broken) {
      answer.fail(new RinggateError("disconnected", "the connection ended before the answer came", true, true));
    }
  }
};
function errorOf(event) {
  const code = String(event["code"]);
  const unknown = code === "timeout" || code === "internal";
  return new RinggateError(code, String(event["message"] ?? code), event["retry"] === true, unknown, event);
}

// src/channel.ts
var Subscription = class extends Emitter {
  #channel;
  constructor(channel) {
    super();
    this.#channel = channel;
  }
  get channel() {
    return this.#channel.name;
  }
  /** The gateway has confirmed it on the present connection. */
  get active() {
    return this.#channel.live;
  }
  /** Up to where messages were delivered; keep it to go on there after the page was loaded anew. */
  get position() {
    const { position } = this.#channel;
    return position && { ...position };
  }
  /** Who is subscribed, by client id; empty without `presence: true`. */
  get members() {
    return this.#channel.presence.members;
  }
  /** Hear nothing more.  The last handle of a channel ends the subscription at the gateway. */
  close() {
    this.#channel.leave(this);
  }
};
var Channel = class {
  constructor(name, around) {
    this.name = name;
    this.around = around;
    this.presence = new Presence({
      joined: (member) => this.#tell("join", member),
      left: (member) => this.#tell("leave", member),
      changed: (members) => this.#tell("members", members)
    });
  }
  name;
  around;
  handles = /* @__PURE__ */ new Set();
  presence;
  position = null;
  live = false;
  /** An app service made it: it can be taken up again only with the session. */
  byService = false;
  #wantsMembers = false;
  #resumes = false;
  #begun = false;
  #hasState = false;
  #token;
  #attempts = 0;
  #mark;
  #asked = 0;
  // counts subscribe commands: only the last one's answer matters
  #retry;
  /** Return a new handle; the first one decides where to begin. */
  join({ presence = false, since, token, resume = true, state = false }) {
    const handle = new Subscription(this);
    if (since && !this.handles.size) this.position = { ...since };
    this.handles.add(handle);
    this.#resumes ||= resume;
    if (state && !this.#hasState) this.#toState();
    this.#token ??= token;
    if (presence && !this.#wantsMembers) {
      this.#wantsMembers = true;
      if (this.live) this.#askMembers();
    }
    return handle;
  }
  /** A copy of the state is wanted, of a channel that was only listened to: it has to begin with a `state`. */
  #toState() {
    this.#hasState = true;
    this.position = null;
    if (this.live) this.#again();
  }
  leave(handle) {
    if (!this.handles.delete(handle) || this.handles.size) return;
    if (this.around.online()) this.around.requests.send({ type: "unsubscribe", channel: this.name }, IGNORED);
    this.#over();
  }
  /** Where to resume; null: from now on. */
  get since() {
    return this.#resumes || !this.#begun ? this.position : null;
  }
  /** Return a position as it is named to the gateway. */
  sinceWith(position) {
    const clients = this.around.earlier();
    return clients.length ? { ...position, clients } : position;
  }
  /** Ask the gateway for it. */
  subscribe() {
    const asked = ++this.#asked;
    const current = () => asked === this.#asked && this.handles.size > 0;
    if (typeof this.#token !== "function") return this.#ask(this.#token, current);
    const refused = (error) => current() && this.#failed(new RinggateError("unavailable", String(error)));
    new Promise((resolve) => resolve(this.#token())).then(
      (token) => current() && this.#ask(token, current),
      refused
    );
  }
  #ask(token, current) {
    const { since } = this;
    this.around.requests.send(
      { type: "subscribe", channel: this.name, ...since && { since: this.sinceWith(since) }, ...token && { token } },
      {
        reply: (reply) => current() && this.confirmed(reply, since),
        fail: (error) => current() && this.#failed(error)
      }
    );
  }
  /** It stands at the gateway: by a `reply`, `subscribed`, or with the session. */
  confirmed(answer, since) {
    const resumed = since !== null && answer.recovered === true;
    this.#attempts = 0;
    this.#asked += 1;
    this.live = this.#begun = true;
    this.#mark = answer.mark ?? this.#mark;
    if (!resumed) this.position = this.#hasState ? null : this.#at(answer.epoch, answer.offset);
    else if (this.position && this.#mark) this.position.mark = this.#mark;
    if (since && !resumed) this.#tell("lost", { reason: "resume" });
    this.#tell("subscribed", { resumed });
    if (this.#wantsMembers && this.live) this.#askMembers();
  }
  /** The connection ended. */
  down() {
    this.live = false;
    this.#asked += 1;
    clearTimeout(this.#retry);
  }
  event(event) {
    if (event.type === "subscribed") return this.#subscribed(event);
    if (event.type === "unsubscribed") return this.#ended(String(event["code"]));
    if (!this.live) return;
    if (event.type === "message") return this.#message(event);
    if (event.type === "gap") return this.#gap(event);
    if (event.type === "join" || event.type === "leave") return this.#presence(event);
    if (!this.#hasState || this.#versioned(event)) this.#tell("event", event);
  }
  /** An app service or the token made the subscription, which knows nothing of where this client stood. */
  #subscribed(stand) {
    const { position } = this;
    if (!position || !this.#begun || !this.#resumes || this.#hasState) return this.confirmed(stand, null);
    const recovered = stand.epoch === position.epoch && stand.offset === position.offset;
    if (recovered || this.byService) return this.confirmed({ ...stand, recovered }, position);
    this.#again();
  }
  /** Subscribe anew, from where this client stands. */
  #again() {
    this.live = false;
    this.around.requests.send({ type: "unsubscribe", channel: this.name }, IGNORED);
    this.subscribe();
  }
  #message(message) {
    const { offset } = message;
    if (offset !== void 0 && this.position) {
      if (offset <= this.position.offset) return;
      Object.assign(this.position, { offset, id: message.id });
    }
    this.#tell("message", message);
  }
  /** Tell whether a `state` or a `patch` is the next one; a patch behind a hole is not, for a `state` will follow. */
  #versioned({ type, version, epoch, id }) {
    if (type === "state") this.position = this.#at(epoch, version);
    else if (type === "patch") {
      if (version !== (this.position ?? { offset: NaN }).offset + 1) return false;
      Object.assign(this.position, { offset: version, id });
    }
    return true;
  }
  /** A position of which no message is known. */
  #at(epoch, offset) {
    return { epoch, offset, ...this.#mark && { mark: this.#mark } };
  }
  #gap(event) {
    if (this.#hasState) return void (this.position = null);
    const { from, to, epoch, reason } = event;
    if (epoch !== void 0) this.position = this.#at(epoch, to ?? 0);
    else if (to !== void 0 && this.position && to > this.position.offset) this.position = this.#at(this.position.epoch, to);
    this.#tell("lost", { reason: reason ?? "lost", ...from !== void 0 && { from }, ...to !== void 0 && { to } });
  }
  #presence(event) {
    if (this.#wantsMembers) return this.presence.change(event);
    const { type, channel: _, ...member } = event;
    this.#tell(type, member);
  }
  #askMembers() {
    this.presence.asked();
    this.around.requests.send(
      { type: "presence", channel: this.name },
      {
        reply: ({ members }) => this.presence.answered(members),
        fail: () => this.presence.answered()
      }
    );
  }
  /** The gateway ended it. Where tokens for it are fetched, another may be had. */
  #ended(code) {
    if (code !== "token_expired" || typeof this.#token !== "function") return this.#failed(new RinggateError(code));
    this.live = false;
    this.subscribe();
  }
  #failed(error) {
    if (error.code === "disconnected" || error.code === "already_subscribed" && this.live) return;
    this.live = false;
    if (error.retry || retriable(error.code)) {
      const delay = RETRY.first / 2 + delayMs(this.#attempts++, RETRY, this.around.random);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.subscribe(), delay);
      return;
    }
    this.#tell("ended", error);
    this.handles.clear();
    this.#over();
  }
  #over() {
    this.down();
    this.around.gone(this);
  }
  #tell(name, value) {
    for (const handle of [...this.handles]) if (this.handles.has(handle)) handle.emit(name, value);
  }
};

// src/credentials.ts
var MARGIN_MS = 6e4;
var LONGEST_MS = 2 ** 31 - 1;
var Credentials = class {
  #source;
  #token = null;
  #endsAt = Infinity;
  #marginMs = MARGIN_MS;
  #fresh = false;
  #timer;
  constructor(source) {
    this.#source = source;
  }
  /** Return a token; `undefined`: none is used; `null`: none is to be had.  Throws what the callback throws. */
  async get(renew = false) {
    if (typeof this.#source !== "function") return this.#source;
    if (renew || this.#token === null || Date.now() >= this.#endsAt - this.#marginMs) {
      this.#token = await this.#source();
      this.#endsAt = Infinity;
      this.#fresh = true;
    }
    return this.#token;
  }
  /** Tell whether `get` needs the application at all. */
  get asks() {
    return typeof this.#source === "function";
  }
  /** The gateway took the token, which ends at `expires` (seconds since 1970); `renew` is called before that. */
  accepted(expires, renew) {
    this.#fresh = false;
    clearTimeout(this.#timer);
    if (expires === void 0 || !this.asks) return;
    const leftMs = expires * 1e3 - Date.now();
    this.#endsAt = expires * 1e3;
    this.#marginMs = Math.min(MARGIN_MS, leftMs / 4);
    this.#timer = setTimeout(renew, Math.min(LONGEST_MS, Math.max(1e3, leftMs - this.#marginMs)));
  }
  /** The gateway did not take it.  Return whether another one may help. */
  refused() {
    const another = this.asks && !this.#fresh;
    this.#token = null;
    return another;
  }
  /** There is no connection any more that would have to be renewed. */
  rest() {
    clearTimeout(this.#timer);
  }
};

// src/heartbeat.ts
var Heartbeat = class {
  #options;
  #everyMs = 0;
  #tickAt = 0;
  #asked = false;
  #timer;
  #deadline;
  constructor(options) {
    this.#options = options;
  }
  /** Begin with a connection; `everyMs` is the period that the gateway asked for. */
  start(everyMs) {
    this.stop();
    this.#everyMs = everyMs;
    this.#schedule();
  }
  stop() {
    clearTimeout(this.#timer);
    this.heard();
    this.#everyMs = 0;
  }
  /** Something came from the gateway. */
  heard() {
    this.#asked = false;
    clearTimeout(this.#deadline);
    this.#deadline = void 0;
  }
  /** Find out within `probeMs` whether the gateway is there. */
  probe() {
    if (!this.#everyMs || this.#deadline !== void 0) return;
    this.#deadline = setTimeout(() => this.#options.silent(), this.#options.probeMs);
    this.#options.ping();
  }
  #schedule() {
    this.#tickAt = Date.now() + this.#everyMs;
    this.#timer = setTimeout(() => this.#tick(), this.#everyMs);
  }
  #tick() {
    const slept = Date.now() - this.#tickAt > this.#everyMs / 2;
    this.#schedule();
    if (slept) return this.probe();
    if (this.#asked) return this.#options.silent();
    this.#asked = true;
    this.#options.ping();
  }
};

// src/machine.ts
var TABLE = {
  idle: {
    connect: ["asking", "ask"]
  },
  asking: {
    token: ["opening", "open"],
    lost: ["waiting", "wait"],
    refused: ["stopped"],
    close: ["idle"]
  },
  opening: {
    hello: ["online", "greet"],
    lost: ["waiting", "drop", "wait"],
    again: ["asking", "drop", "ask"],
    refused: ["stopped", "drop"],
    close: ["idle", "drop"]
  },
  online: {
    wake: ["online", "probe"],
    lost: ["waiting", "drop", "wait"],
    again: ["asking", "drop", "ask"],
    refused: ["stopped", "drop"],
    close: ["idle", "drop"]
  },
  waiting: {
    timer: ["asking", "rest", "ask"],
    wake: ["asking", "rest", "ask"],
    connect: ["asking", "rest", "ask"],
    close: ["idle", "rest"]
  },
  stopped: {
    connect: ["asking", "ask"],
    close: ["idle"]
  }
};
function step(state, input) {
  const entry = TABLE[state][input];
  if (!entry) return null;
  const [next, ...effects] = entry;
  return { next, effects };
}

// src/status.ts
var StatusStream = class {
  #tell;
  #timer;
  #status = { state: "offline" };
  constructor(tell) {
    this.#tell = tell;
  }
  get status() {
    return this.#status;
  }
  /** The machine has come to `state`. */
  show(state, details) {
    clearTimeout(this.#timer);
    const status = statusOf(state, details, Date.now());
    if (status.state === "reconnecting") {
      const nextMs = details.retryAt - Date.now() - (status.seconds - 1) * 1e3;
      this.#timer = setTimeout(() => this.show(state, details), Math.max(nextMs, 50));
    }
    if (JSON.stringify(status) === JSON.stringify(this.#status)) return;
    this.#status = status;
    this.#tell(status);
  }
};
function statusOf(state, details, now) {
  const { client, user, retryAt, code, reason } = details;
  switch (state) {
    case "asking":
    case "opening":
      return { state: "connecting" };
    case "online":
      return { state: "online", client, ...user !== void 0 && { user } };
    case "waiting":
      return { state: "reconnecting", seconds: Math.max(0, Math.ceil((retryAt - now) / 1e3)) };
    case "idle":
      return { state: "offline" };
    case "stopped":
      return { state: "offline", ...code !== void 0 && { code }, ...reason && { reason } };
  }
}

// src/wake.ts
function watchWake(wake) {
  const page = globalThis.document;
  const shown = () => page.visibilityState === "visible" && wake();
  const watched = [
    [globalThis, "online", wake],
    [globalThis, "pageshow", wake],
    [page, "visibilitychange", shown],
    [page, "resume", wake]
    // of the Page Lifecycle API: the tab was frozen
  ];
  const able = watched.filter(([target]) => typeof target?.addEventListener === "function");
  for (const [target, name, listener] of able) target.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of able) target.removeEventListener(name, listener);
  };
}

// src/connection.ts
var STABLE_MS = 5e3;
var UNAUTHORIZED = 4001;
var NO_CODE = 1006;
var Connection = class {
  requests;
  #options;
  #listener;
  #credentials;
  #heartbeat;
  #status;
  #state = "idle";
  #socket = null;
  #attempt = 0;
  #asked = 0;
  // counts attempts, so that what comes late for an earlier one is known
  #onlineAt = 0;
  #advice = null;
  #endCode = NO_CODE;
  #expires;
  #hello;
  #greeted = false;
  #details = { client: "", retryAt: 0 };
  #retry;
  #deadline;
  #unwatch;
  constructor(options, listener) {
    this.#options = options;
    this.#listener = listener;
    this.#credentials = new Credentials(options.token);
    this.requests = new Requests(options.codec, (message) => this.#post(message));
    this.#status = new StatusStream((status) => listener.status(status));
    this.#heartbeat = new Heartbeat({
      ping: () => this.#post(options.codec.encode({ type: "ping" })),
      silent: () => this.#end("again", NO_CODE, "nothing was heard from the gateway"),
      probeMs: options.settings.probeTimeout
    });
  }
  get status() {
    return this.#status.status;
  }
  get online() {
    return this.#state === "online";
  }
  connect() {
    this.#unwatch ??= watchWake(() => this.wake());
    this.#input("connect");
  }
  close() {
    this.#unwatch?.();
    this.#unwatch = void 0;
    this.#input("close");
  }
  /** It may be worth trying now: connect at once, or see whether the connection is still alive. */
  wake() {
    this.#input("wake");
  }
  // ---- the machine ----
  #input(input) {
    const result = step(this.#state, input);
    if (!result) return;
    this.#state = result.next;
    if (input === "connect" || input === "wake") this.#attempt = 0;
    if (result.next !== "asking" && result.next !== "opening") clearTimeout(this.#deadline);
    const at = this.#asked;
    for (const effect of result.effects) {
      this.#carryOut(effect);
      if (at !== this.#asked || this.#state !== result.next) return;
    }
    this.#status.show(this.#state, this.#details);
  }
  #carryOut(effect) {
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
  #end(verdict, code, reason, renewed = false) {
    if (this.#onlineAt && Date.now() - this.#onlineAt >= STABLE_MS) this.#attempt = 0;
    if (verdict === "again" && !renewed) {
      if (this.#attempt) verdict = "lost";
      this.#attempt ||= 1;
    }
    this.#endCode = typeof code === "number" ? code : NO_CODE;
    this.#details = { ...this.#details, code, reason };
    this.#input(verdict);
  }
  // ---- what it does ----
  #ask() {
    const attempt = ++this.#asked;
    const current = () => attempt === this.#asked && this.#state === "asking";
    this.#onlineAt = 0;
    this.#advice = null;
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(
      () => this.#end("lost", NO_CODE, "no connection in time"),
      this.#options.settings.connectTimeout
    );
    this.#status.show("asking", this.#details);
    if (!this.#credentials.asks) return this.#input("token");
    this.#credentials.get().then(
      (token) => {
        if (!current()) return;
        if (token === null) this.#end("refused", "unauthorized", "there is no token");
        else this.#input("token");
      },
      (error) => current() && this.#end("lost", "unauthorized", String(error))
    );
  }
  #open() {
    const { url, codec, WebSocket } = this.#options;
    let socket;
    try {
      socket = new WebSocket(typeof url === "function" ? url() : url, [codec.protocol]);
    } catch (error) {
      return this.#end("refused", "bad_request", String(error));
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#present().catch((error) => this.#end("lost", "unauthorized", String(error)));
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    socket.onerror = () => void 0;
  }
  /** Show the token on the socket that there is; also to renew it. */
  async #present(renew = false) {
    const socket = this.#socket;
    const token = await this.#credentials.get(renew);
    if (socket !== this.#socket || typeof token !== "string") return;
    this.requests.send(
      { type: "connect", token },
      {
        reply: (reply) => this.#accepted(reply.expires ?? this.#expires),
        fail: (error) => this.#unaccepted(error)
      }
    );
  }
  #accepted(expires) {
    this.#expires = expires;
    this.#credentials.accepted(expires, () => {
      this.#present(true).catch(() => this.#accepted(expires));
    });
  }
  #unaccepted(error) {
    if (error.code === "disconnected") return;
    const another = error.code === "unauthorized" && this.#credentials.refused();
    this.#end(another ? "again" : error.retry ? "lost" : "refused", error.code, error.message, another);
  }
  #closed(code, reason) {
    this.#socket = null;
    const verdict = verdictOf(code);
    const another = code === UNAUTHORIZED && this.#credentials.refused();
    if (another) this.#end("again", code, reason, true);
    else this.#end(this.#advice && verdict === "again" ? "lost" : verdict, code, reason);
  }
  #receive(data) {
    this.#heartbeat.heard();
    let event;
    try {
      event = this.#options.codec.decode(data);
    } catch {
      return this.#end("lost", NO_CODE, "the gateway sent what is not understood");
    }
    if (event.type === "hello") this.#letIn(event);
    else if (event.type === "reply" || event.type === "error" && event.id !== void 0) this.requests.settle(event);
    else if (event.type === "reconnect") this.#advice = event["after"];
    else if (event.type !== "pong") this.#listener.event(event);
  }
  #letIn(event) {
    this.#details = {
      client: String(event["client"]),
      user: event["user"],
      retryAt: 0
    };
    this.#accepted(event["expires"]);
    this.#heartbeat.start((event["ping"] || 30) * 1e3);
    this.#hello = event;
    this.#input("hello");
  }
  #greet() {
    this.#onlineAt = Date.now();
    this.#greeted = true;
    this.#status.show("online", this.#details);
    this.#listener.greet(this.#hello);
  }
  #post(message) {
    this.#socket?.send(message);
  }
  #drop() {
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
  #wait() {
    const { settings, random } = this.#options;
    const backoff = { first: settings.backoffFirst, most: settings.backoffMost };
    const delay = this.#advice ? advisedMs(this.#advice, random) : delayMs(this.#attempt, backoff, random);
    this.#advice = null;
    this.#attempt += 1;
    this.#details = { ...this.#details, retryAt: Date.now() + delay };
    this.#retry = setTimeout(() => this.#input("timer"), delay);
  }
};

// src/direct.ts
var Direct = class {
  #channel;
  #handle;
  #wanted = false;
  constructor(around) {
    this.#channel = new Channel("@", around);
    this.#handle = this.#channel.join({});
  }
  /** Return the handle through which it is heard. */
  listen() {
    if (!this.#wanted) {
      this.#wanted = true;
      if (this.#channel.around.online()) this.#ask();
    }
    return this.#handle;
  }
  /** The gateway said hello to this user, or to nobody in particular. */
  open(user) {
    const name = `@${user ?? ""}`;
    if (name !== this.#channel.name) this.#channel.position = null;
    this.#channel.name = name;
    if (this.#wanted) this.#ask();
  }
  down() {
    this.#channel.down();
  }
  event(event) {
    const channel = this.#channel;
    if (event.type === "subscribed" || event.type === "unsubscribed") return;
    const { live } = channel;
    channel.live ||= event.channel !== channel.name || !channel.position;
    channel.event(event);
    channel.live = live;
  }
  #ask() {
    if (this.#channel.name !== "@") this.#channel.subscribe();
  }
};

// src/json.ts
var CHUNK = 32768;
var json = {
  protocol: "ringgate.v1.json",
  encode(command) {
    const fields = Object.entries(command).map(
      ([name, value]) => value instanceof Uint8Array ? [`${name}64`, toBase64(value)] : [name, value]
    );
    return JSON.stringify(Object.fromEntries(fields));
  },
  decode(text) {
    const event = JSON.parse(text);
    withBytes(event);
    event["publications"]?.forEach(withBytes);
    return event;
  }
};
function withBytes(event) {
  for (const name of ["data", "payload"]) {
    const text = event[`${name}64`];
    if (text === void 0) continue;
    delete event[`${name}64`];
    event[name] = fromBase64(text);
  }
}
function fromBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}
function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += CHUNK) text += String.fromCharCode(...bytes.subarray(i, i + CHUNK));
  return btoa(text);
}

// src/keys.ts
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// src/options.ts
var DEFAULTS = {
  backoffFirst: 500,
  backoffMost: 8e3,
  connectTimeout: 1e4,
  probeTimeout: 4e3,
  maxQueued: 1e3,
  ttl: 24e4,
  timeout: 1e4
};
function settingsOf(given) {
  const settings = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) settings[name] = given[name] ?? settings[name];
  return settings;
}

// src/outbox.ts
var REPEAT_MS = 24e4;
var Outbox = class {
  #requests;
  #limit;
  #random;
  #entries = /* @__PURE__ */ new Set();
  #open = false;
  constructor(requests, limit, random) {
    this.#requests = requests;
    this.#limit = limit;
    this.#random = random;
  }
  /** How many commands are in it, those that wait for their answers included. */
  get size() {
    return this.#entries.size;
  }
  /** Put a command in; the promise is kept by its reply, or broken with a RinggateError. */
  add(command, terms) {
    return new Promise((resolve, reject) => {
      if (terms.signal?.aborted) throw new RinggateError("aborted");
      if (this.#entries.size >= this.#limit) throw new RinggateError("queue_full");
      if (!terms.ttl && !this.#open) throw new RinggateError("expired", "there is no connection now");
      const entry = {
        ...this.#requests.encode(command),
        channel: command.channel,
        terms,
        sentAt: 0,
        flying: false,
        holding: void 0,
        attempts: 0,
        unknown: false,
        undo: [],
        resolve,
        reject
      };
      this.#entries.add(entry);
      this.#limitTime(entry);
      this.#flush();
    });
  }
  /** There is a connection: send what waits, in order. */
  open() {
    this.#open = true;
    this.#flush();
  }
  /** The connection ended (after `Requests.drop`). `tooBig`: because of a message that was too big for the gateway. */
  shut(tooBig) {
    this.#open = false;
    const flying = [...this.#entries].filter((entry) => entry.flying);
    const biggest = Math.max(...flying.map((entry) => entry.message.length));
    for (const entry of flying) {
      entry.flying = false;
      if (tooBig && entry.message.length === biggest) {
        this.#fail(entry, new RinggateError("limit_exceeded", "the message is too big for the gateway"));
      } else if (!entry.terms.repeat || !entry.terms.ttl) {
        this.#fail(entry, new RinggateError("disconnected", "the connection ended before the answer came", true, true));
      }
    }
    for (const entry of this.#entries) this.#release(entry);
  }
  /** The client is closed: break off everything. */
  clear() {
    for (const entry of [...this.#entries]) this.#giveUp(entry, "closed", "the client was closed");
  }
  #limitTime(entry) {
    const { ttl, signal } = entry.terms;
    if (ttl && ttl < 2 ** 31) this.#after(entry, ttl, "expired", "its time to live is over");
    if (!signal) return;
    const abort = () => this.#giveUp(entry, "aborted", "it was aborted");
    signal.addEventListener("abort", abort);
    entry.undo.push(() => signal.removeEventListener("abort", abort));
  }
  #after(entry, ms, code, message) {
    const timer = setTimeout(() => this.#giveUp(entry, code, message), ms);
    entry.undo.push(() => clearTimeout(timer));
  }
  #flush() {
    if (!this.#open) return;
    const held = /* @__PURE__ */ new Set();
    for (const entry of [...this.#entries]) {
      if (entry.holding !== void 0 && entry.channel !== void 0) held.add(entry.channel);
      if (entry.flying || entry.holding !== void 0 || held.has(entry.channel)) continue;
      this.#send(entry);
    }
  }
  #send(entry) {
    const now = Date.now();
    if (entry.unknown && now - entry.sentAt > REPEAT_MS) {
      return this.#giveUp(entry, "expired", "it may have happened, and is too old to be repeated");
    }
    entry.sentAt ||= now;
    entry.flying = entry.unknown = true;
    const { timeout } = entry.terms;
    if (timeout) this.#after(entry, timeout, "timeout", "no answer came in time");
    this.#requests.start(entry.id, entry.message, {
      reply: (reply) => {
        this.#remove(entry);
        entry.resolve(reply);
      },
      fail: (error) => {
        if (error.code !== "disconnected") this.#refused(entry, error);
      }
    });
  }
  #refused(entry, error) {
    entry.flying = false;
    entry.unknown = error.unknown;
    if (!error.retry || !entry.terms.repeat || !entry.terms.ttl) return this.#fail(entry, error);
    entry.holding = setTimeout(() => {
      this.#release(entry);
      this.#flush();
    }, RETRY.first / 2 + delayMs(entry.attempts++, RETRY, this.#random));
  }
  #release(entry) {
    clearTimeout(entry.holding);
    entry.holding = void 0;
  }
  #giveUp(entry, code, message) {
    if (this.#entries.has(entry)) this.#fail(entry, new RinggateError(code, message, void 0, entry.unknown));
  }
  #fail(entry, error) {
    this.#remove(entry);
    entry.reject(error);
    this.#flush();
  }
  #remove(entry) {
    this.#entries.delete(entry);
    this.#requests.forget(entry.id);
    this.#release(entry);
    for (const undo of entry.undo) undo();
  }
};

// src/client.ts
var IDS = 9;
var Client = class extends Emitter {
  /** What was set, and else what holds by itself. */
  settings;
  #connection;
  #outbox;
  #channels = /* @__PURE__ */ new Map();
  #around;
  #direct;
  #ids = [];
  #session = "";
  /** `url` is the gateway's `/ws`, also relative to the page; a function is asked at each attempt. */
  constructor(url, options = {}) {
    super();
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) throw new TypeError("there is no WebSocket here: give one as the option WebSocket");
    const random = options.random ?? Math.random;
    const settings = this.settings = settingsOf(options);
    this.#connection = new Connection(
      {
        url: () => addressOf(typeof url === "function" ? url() : url),
        token: options.token,
        codec: options.codec ?? json,
        WebSocket,
        settings,
        random
      },
      {
        greet: (hello) => this.#greet(hello),
        down: (code) => this.#down(code),
        event: (event) => this.#event(event),
        status: (status) => this.emit("status", status)
      }
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
      }
    };
    this.#direct = new Direct(this.#around);
  }
  /** What to show of the connection; `on("status", …)` tells of every change. */
  get status() {
    return this.#connection.status;
  }
  /** What app services send to this user, or to this one client. */
  get direct() {
    return this.#direct.listen();
  }
  /** How many commands wait, for a connection or for their answers. */
  get queued() {
    return this.#outbox.size;
  }
  /** Connect, and stay connected; where an attempt is waited for, make it now. */
  connect() {
    this.#connection.connect();
    return this;
  }
  /** Disconnect, and break off whatever waits.  `connect` takes the subscriptions up again. */
  close() {
    this.#connection.close();
    this.#outbox.clear();
  }
  /** It may be worth trying now: for surroundings that do not tell it by `online` or `visibilitychange`. */
  wake() {
    this.#connection.wake();
  }
  /** Hear a channel; any number of handles share one subscription. */
  subscribe(channel, listener, options = {}) {
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
  publish(channel, data, options = {}) {
    const { key = randomKey(), ttl = this.settings.ttl, signal } = options;
    return this.#outbox.add({ type: "publish", channel, data, key }, { ttl, repeat: true, signal });
  }
  /** Call a method of the app service; the promise is kept by what it answers. */
  call(method, payload = null, options = {}) {
    return this.#consult({ type: "call", method, payload, timeout: options.timeout ?? this.settings.timeout }, options);
  }
  /** Say something to the app service; kept once what it wanted is done, by what it answers, if anything. */
  send(data, options = {}) {
    return this.#consult({ type: "send", data }, options);
  }
  async #consult(command, options) {
    const { timeout = this.settings.timeout, ttl = timeout, repeat = false, signal } = options;
    const reply = await this.#outbox.add(command, { ttl: ttl && ttl + timeout, timeout, repeat, signal });
    return reply["payload"];
  }
  /** Ask who is subscribed to a channel now; for a live list see `subscribe` with `presence`. */
  async presence(channel, signal) {
    const reply = await this.request({ type: "presence", channel }, true, void 0, signal);
    return reply.members ?? [];
  }
  /** Read what a channel keeps, oldest first. */
  async history(channel, { signal, ...which } = {}) {
    const reply = await this.request({ type: "history", channel, ...which }, true, void 0, signal);
    const { epoch, offset, publications = [], complete = false } = reply;
    return { epoch, offset, publications, complete };
  }
  /** For modules beside this one: a command of any type, repeated after a break if that does no harm. */
  request(command, repeat = false, ttl = this.settings.timeout, signal) {
    return this.#outbox.add(command, { ttl, repeat, signal });
  }
  // ---- what the connection tells ----
  #greet(hello) {
    const lost = this.#session;
    this.#ids.push(String(hello["client"]));
    if (this.#ids.length > IDS) this.#ids.shift();
    this.#direct.open(hello["user"]);
    this.#session = String(hello["session"]);
    if (lost && [...this.#channels.values()].some((channel) => channel.byService)) this.#takeUp(lost);
    else this.#begin();
  }
  #begin() {
    for (const channel of this.#channels.values()) if (!channel.live) channel.subscribe();
    this.#outbox.open();
  }
  /** Resume by session: the only way to get back what an app service subscribed. */
  #takeUp(session) {
    const since = {};
    for (const channel of this.#channels.values()) if (channel.since) since[channel.name] = channel.sinceWith(channel.since);
    this.#connection.requests.send(
      { type: "connect", session, since },
      {
        reply: (reply) => {
          this.#session = reply.session ?? this.#session;
          for (const entry of reply.subscriptions ?? []) this.#tookUp(entry.channel, entry, since[entry.channel] ?? null);
          this.#begin();
        },
        fail: (error) => error.code !== "disconnected" && this.#begin()
        // the session is gone: one by one
      }
    );
  }
  #tookUp(name, stand, since) {
    const channel = this.#channels.get(name);
    if (channel) channel.confirmed(stand, since);
    else this.#connection.requests.send({ type: "unsubscribe", channel: name }, IGNORED);
  }
  #down(code) {
    for (const channel of this.#channels.values()) channel.down();
    this.#direct.down();
    this.#outbox.shut(code === 1009);
  }
  #event(event) {
    if (event.type === "error") return this.emit("error", errorOf(event));
    const name = event.channel;
    if (name === void 0) return;
    const channel = this.#channels.get(name);
    if (channel) channel.event(event);
    else if (event.type === "subscribed") this.#subscribed(event);
    else if (name.startsWith("@")) this.#direct.event(event);
  }
  #subscribed(event) {
    const channel = new Channel(event.channel, this.#around);
    const handle = channel.join({});
    channel.byService = true;
    this.#channels.set(channel.name, channel);
    this.emit("subscription", handle);
    channel.event(event);
  }
};
function addressOf(url) {
  const page = globalThis.location?.href;
  return new URL(url, page).href.replace(/^http/, "ws");
}
export {
  CLOSE_CODES,
  Client,
  DEFAULTS,
  ERROR_CODES,
  RinggateError,
  json
};
