// Built from clients/js/demo by `make js`: change that.

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
    const joined2 = [...next.values()].filter(({ client }) => !before.has(client));
    const left = [...before.values()].filter(({ client }) => !next.has(client));
    for (const member of joined2) this.#listener.joined(member);
    for (const member of left) this.#listener.left(member);
    if (joined2.length + left.length) this.#listener.changed(next);
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
  join({ presence = false, since, token, resume = true, state: state2 = false }) {
    const handle = new Subscription(this);
    if (since && !this.handles.size) this.position = { ...since };
    this.handles.add(handle);
    this.#resumes ||= resume;
    if (state2 && !this.#hasState) this.#toState();
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
function step(state2, input) {
  const entry = TABLE[state2][input];
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
  show(state2, details) {
    clearTimeout(this.#timer);
    const status = statusOf(state2, details, Date.now());
    if (status.state === "reconnecting") {
      const nextMs = details.retryAt - Date.now() - (status.seconds - 1) * 1e3;
      this.#timer = setTimeout(() => this.show(state2, details), Math.max(nextMs, 50));
    }
    if (JSON.stringify(status) === JSON.stringify(this.#status)) return;
    this.#status = status;
    this.#tell(status);
  }
};
function statusOf(state2, details, now) {
  const { client, user, retryAt, code, reason } = details;
  switch (state2) {
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
    const { url, codec, WebSocket: WebSocket2 } = this.#options;
    let socket;
    try {
      socket = new WebSocket2(typeof url === "function" ? url() : url, [codec.protocol]);
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
    const WebSocket2 = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket2) throw new TypeError("there is no WebSocket here: give one as the option WebSocket");
    const random = options.random ?? Math.random;
    const settings = this.settings = settingsOf(options);
    this.#connection = new Connection(
      {
        url: () => addressOf(typeof url === "function" ? url() : url),
        token: options.token,
        codec: options.codec ?? json,
        WebSocket: WebSocket2,
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

// src/toast.ts
var LABELS = {
  connecting: "Connecting…",
  waiting: "Reconnecting in {n} s…",
  reconnecting: "Reconnecting…",
  online: "Back online",
  offline: "Offline",
  retry: "Try now"
};
var SETTLE_MS = 400;
var FIRST_MS = 1500;
var GOOD_MS = 2500;
var Toaster = class {
  #show;
  labels;
  #shown = false;
  #met = false;
  // it was online once
  #toast = null;
  #settling = false;
  // a break is waited out
  #timer;
  constructor(show, labels = LABELS) {
    this.#show = show;
    this.labels = labels;
  }
  update(status) {
    const toast = this.#toastOf(status);
    if (status.state === "online") return this.#online(toast);
    this.#toast = toast;
    if (!toast) return this.hide();
    if (this.#shown || toast.kind === "bad") return this.#now();
    if (this.#settling) return;
    this.#stop();
    this.#settling = true;
    this.#timer = setTimeout(() => this.#now(), this.#met ? SETTLE_MS : FIRST_MS);
  }
  hide() {
    this.#stop();
    this.#shown = false;
    this.#show(null);
  }
  #online(toast) {
    this.#met = true;
    this.#stop();
    if (!this.#shown) return;
    this.#shown = false;
    this.#show(toast);
    this.#timer = setTimeout(() => this.hide(), GOOD_MS);
  }
  #now() {
    this.#stop();
    this.#shown = true;
    this.#show(this.#toast);
  }
  #stop() {
    clearTimeout(this.#timer);
    this.#settling = false;
  }
  #toastOf(status) {
    const { connecting, waiting, reconnecting, online, offline, retry } = this.labels;
    switch (status.state) {
      case "online":
        return { kind: "good", text: online };
      case "connecting":
        return { kind: "wait", text: this.#met ? reconnecting : connecting };
      case "reconnecting": {
        const text = status.seconds ? waiting.replace("{n}", String(status.seconds)) : reconnecting;
        return { kind: "wait", text, action: retry };
      }
      case "offline":
        if (status.code === void 0) return null;
        return { kind: "bad", text: status.reason ? `${offline}: ${status.reason}` : offline, action: retry };
    }
  }
};

// src/status-element.ts
var STYLE = `
:host { position: fixed; z-index: 2147483000; inset: auto 0 var(--ringgate-bottom, 24px); display: flex;
  justify-content: center; pointer-events: none; font: 14px/1.4 system-ui, sans-serif; }
div { display: flex; align-items: center; gap: 10px; max-width: calc(100vw - 32px); padding: 9px 16px;
  border-radius: 22px; background: var(--ringgate-background, #1d2129); color: var(--ringgate-color, #f4f5f7);
  box-shadow: 0 6px 24px rgb(0 0 0 / 28%); opacity: 0; transform: translateY(12px);
  transition: opacity 0.2s, transform 0.2s, visibility 0.2s; visibility: hidden; }
:host([state]) div { opacity: 1; transform: none; pointer-events: auto; visibility: visible; }
i { flex: none; width: 9px; height: 9px; border-radius: 50%; background: #f0b04a; }
:host([state="wait"]) i { animation: pulse 0.9s infinite alternate; }
:host([state="good"]) i { background: #3fcf8e; }
:host([state="bad"]) i { background: #ff7a70; }
span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-variant-numeric: tabular-nums; }
button { margin: -3px -6px -3px 0; padding: 3px 8px; border: 0; border-radius: 12px; background: none;
  color: var(--ringgate-accent, #a9b4ff); font: inherit; font-weight: 600; cursor: pointer; }
button:hover { background: rgb(255 255 255 / 12%); }
button:focus-visible { outline: 2px solid currentcolor; }
@keyframes pulse { to { opacity: 0.25; } }
@media (prefers-reduced-motion: reduce) { div { transition: none; } i { animation: none !important; } }
`;
var Base = globalThis.HTMLElement ?? class {
};
var RinggateStatus = class extends Base {
  #client = null;
  #off;
  #text;
  #button;
  #toaster = new Toaster((toast) => this.#show(toast));
  /** Whose status is shown. */
  get client() {
    return this.#client;
  }
  set client(client) {
    this.#client = client;
    this.#watch();
  }
  /** The words; give some or all of LABELS in another language. */
  get labels() {
    return this.#toaster.labels;
  }
  set labels(labels) {
    this.#toaster.labels = { ...LABELS, ...labels };
  }
  connectedCallback() {
    if (!this.shadowRoot) this.#build();
    this.#watch();
  }
  disconnectedCallback() {
    this.#off?.();
    this.#off = void 0;
    this.#toaster.hide();
  }
  #build() {
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    const toast = part("div", "toast");
    toast.setAttribute("role", "status");
    this.#text = part("span", "text");
    this.#button = part("button", "button");
    this.#button.type = "button";
    this.#button.addEventListener("click", () => this.#client?.connect());
    toast.append(part("i", "dot"), this.#text, this.#button);
    root.append(toast);
  }
  #watch() {
    this.#off?.();
    this.#off = void 0;
    if (!this.#client || !this.isConnected) return;
    this.#off = this.#client.on("status", (status) => this.#toaster.update(status));
    this.#toaster.update(this.#client.status);
  }
  #show(toast) {
    if (!toast) return this.removeAttribute("state");
    this.setAttribute("state", toast.kind);
    this.#text.textContent = toast.text;
    this.#button.textContent = toast.action ?? "";
    this.#button.hidden = !toast.action;
  }
};
function part(tag, name) {
  const element = document.createElement(tag);
  element.setAttribute("part", name);
  return element;
}
if (globalThis.customElements && !customElements.get("ringgate-status")) {
  customElements.define("ringgate-status", RinggateStatus);
}

// src/merge-patch.ts
function merge(target, patch) {
  if (!isObject(patch)) return patch;
  const members = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name);
    else members.set(name, merge(members.get(name), value));
  }
  return Object.fromEntries(members);
}
function difference(before, after) {
  if (!isObject(before) || !isObject(after)) return same(before, after) ? void 0 : after;
  const members = /* @__PURE__ */ new Map();
  for (const name of Object.keys(before)) if (!Object.hasOwn(after, name)) members.set(name, null);
  for (const [name, value] of Object.entries(after)) {
    const change = Object.hasOwn(before, name) ? difference(before[name], value) : value;
    if (change !== void 0) members.set(name, change);
  }
  return members.size ? Object.fromEntries(members) : void 0;
}
function compose(first, second) {
  if (!isObject(second)) return second;
  if (!isObject(first)) return void 0;
  const members = new Map(Object.entries(first));
  for (const [name, value] of Object.entries(second)) {
    const both = members.has(name) ? compose(members.get(name), value) : value;
    if (both === void 0) return void 0;
    members.set(name, both);
  }
  return Object.fromEntries(members);
}
function overlap(a, b, path = []) {
  if (!isObject(a) || !isObject(b)) return [[...path]];
  return Object.keys(a).filter((name) => Object.hasOwn(b, name)).flatMap((name) => overlap(a[name], b[name], [...path, name]));
}
function same(a, b) {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, i) => same(value, b[i]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && same(a[name], b[name]));
}
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// src/state.ts
var RETRY_MS = 500;
function state(client, channel, options = {}) {
  return new SharedState(client, channel, options);
}
var siblings = /* @__PURE__ */ new WeakMap();
var SharedState = class extends Emitter {
  #client;
  #subscription;
  #confirmed = null;
  #shown = null;
  #version = -1;
  // before the first `state`
  #epoch = "";
  #pending = [];
  #retry;
  constructor(client, channel, options) {
    super();
    this.#client = client;
    this.#subscription = client.subscribe(channel, null, { ...options, state: true });
    this.#subscription.on("event", (event) => this.#event(event));
    this.#subscription.on("subscribed", () => this.#send());
    this.#subscription.on("ended", (error) => {
      this.#breakOff(error);
      this.emit("ended", error);
    });
    this.#adopt();
  }
  /** Take over what another one of this channel has. */
  #adopt() {
    const all = siblings.get(this.#client) ?? /* @__PURE__ */ new Set();
    siblings.set(this.#client, all.add(this));
    const other = [...all].find((each) => each.channel === this.channel && each.#version >= 0);
    if (!other) return;
    this.#confirmed = this.#shown = other.#confirmed;
    this.#version = other.#version;
    this.#epoch = other.#epoch;
  }
  get channel() {
    return this.#subscription.channel;
  }
  /** The value to show; `null` before the first `state` came. */
  get value() {
    return this.#shown;
  }
  /** What the gateway confirmed, and as which version; -1 before the first `state` came. */
  get confirmed() {
    return { value: this.#confirmed, version: this.#version };
  }
  /** How many changes are not confirmed yet. */
  get pending() {
    return this.#pending.length;
  }
  /**
   * Change the value, here at once and at the gateway as soon as may be.  The promise is kept with the version that
   * the change made, or broken with a RinggateError; the change is taken back then.
   */
  update(change) {
    const copy = typeof change === "function" ? change : JSON.parse(JSON.stringify(change));
    return new Promise((resolve, reject) => {
      const last = this.#pending.at(-1);
      const both = last && !last.tried ? joined(last.change, copy) : void 0;
      if (last && both !== void 0) {
        last.change = both;
        last.resolve.push(resolve);
        last.reject.push(reject);
      } else this.#pending.push(pendingOf(copy, resolve, reject));
      this.#show();
      this.#send();
    });
  }
  /** Hear nothing more; changes that are not confirmed are broken off. */
  close() {
    this.#subscription.close();
    this.#breakOff(new RinggateError("closed"));
  }
  // ---- what the gateway says ----
  #event(event) {
    const { type, version, epoch } = event;
    if (type === "state" && !(epoch === this.#epoch && version < this.#version)) {
      this.#replace(event["data"], version, epoch);
    } else if (type === "patch" && version === this.#version + 1) {
      const patch = event["patch"];
      const from = event["from"];
      this.#replace(merge(this.#confirmed, patch), version, this.#epoch, from, this.#isMine(patch, from));
    }
    this.#send();
  }
  /** Tell whether a patch is the one under way; it may come before its answer, and after a break from another id. */
  #isMine(patch, from) {
    const entry = this.#pending.find(({ flying }) => flying);
    const { status } = this.#client;
    const fromHere = status.state === "online" && from?.client === status.client;
    const found = entry !== void 0 && same(entry.flying.patch, patch);
    if (found) entry.applied = true;
    return found || fromHere;
  }
  #replace(value, version, epoch, from, mine = false) {
    const before = this.#confirmed;
    const began = this.#version < 0;
    const anew = epoch !== this.#epoch;
    this.#confirmed = value;
    this.#version = version;
    this.#epoch = epoch;
    this.#pending = this.#pending.filter((entry) => {
      const done = entry.version !== null && (anew || entry.version <= version);
      if (done) for (const resolve of entry.resolve) resolve(entry.version);
      return !done;
    });
    if (!mine && !began) this.#compare(before, value, from);
    this.#show();
  }
  #compare(before, after, from) {
    const theirs = this.#pending.length ? difference(before, after) : void 0;
    if (theirs === void 0) return;
    for (const entry of [...this.#pending]) {
      if (entry.version !== null || entry.applied || typeof entry.change === "function") continue;
      const mine = entry.change;
      const paths = overlap(mine, theirs);
      const drop = () => this.#drop(entry);
      if (paths.length) this.emit("conflict", { paths, mine, theirs, ...from && { from }, drop });
    }
  }
  #drop(entry) {
    entry.dropped = true;
    if (!entry.flying) this.#settle(entry, new RinggateError("aborted"));
  }
  // ---- sending ----
  #send() {
    const entry = this.#pending.find(({ version }) => version === null);
    if (!entry || entry.flying || this.#version < 0 || this.#retry !== void 0) return;
    if (!this.#subscription.active) return;
    const patch = patchOf(entry.change, this.#confirmed);
    entry.flying = { patch };
    entry.tried = true;
    const command = {
      type: "update",
      channel: this.channel,
      base: this.#version,
      epoch: this.#epoch,
      patch,
      key: entry.key
    };
    this.#client.request(command, true, this.#client.settings.ttl).then(
      (reply) => this.#done(entry, reply["version"]),
      (error) => this.#failed(entry, error)
    );
  }
  #done(entry, version) {
    entry.flying = null;
    entry.version = version;
    if (version <= this.#version) this.#settle(entry);
    this.#send();
  }
  #failed(entry, error) {
    entry.flying = null;
    entry.applied = false;
    if (!this.#pending.includes(entry)) return;
    if (entry.dropped) return this.#settle(entry, error);
    if (error.code === "stale_version") this.#stale(entry, error);
    else if (!error.retry) return this.#settle(entry, error);
    else this.#later(RETRY_MS);
    this.#send();
  }
  /** Somebody was faster.  What the gateway has now is in the answer, unless it came here already. */
  #stale(entry, { event }) {
    const { version, epoch, data } = event;
    if (epoch !== this.#epoch || version > this.#version) this.#replace(data, version, epoch);
    else this.#show();
    if (++entry.attempts > 2) this.#later(Math.random() * Math.min(RETRY_MS, 20 * entry.attempts));
  }
  #later(ms) {
    this.#retry = setTimeout(() => {
      this.#retry = void 0;
      this.#send();
    }, ms);
  }
  // ---- the end of a change ----
  #settle(entry, error) {
    this.#pending = this.#pending.filter((each) => each !== entry);
    if (error === void 0) for (const resolve of entry.resolve) resolve(entry.version);
    else for (const reject of entry.reject) reject(error);
    this.#show();
    this.#send();
  }
  #breakOff(error) {
    siblings.get(this.#client).delete(this);
    clearTimeout(this.#retry);
    const broken = this.#pending;
    this.#pending = [];
    for (const { reject } of broken) for (const each of reject) each(error);
  }
  #show() {
    const put = (shown, { change, applied, version }) => applied || version !== null && version <= this.#version ? shown : merge(shown, patchOf(change, shown));
    const value = this.#pending.reduce(put, this.#confirmed);
    const changed = difference(this.#shown, value) !== void 0;
    this.#shown = value;
    if (changed) this.emit("change", value);
  }
};
function pendingOf(change, resolve, reject) {
  return {
    change,
    key: randomKey(),
    flying: null,
    tried: false,
    applied: false,
    version: null,
    dropped: false,
    attempts: 0,
    resolve: [resolve],
    reject: [reject]
  };
}
function patchOf(change, value) {
  return typeof change === "function" ? change(value) : change;
}
function joined(first, second) {
  return typeof first === "function" || typeof second === "function" ? void 0 : compose(first, second);
}

// demo/dom.ts
function make(tag, className = "", text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== void 0) element.textContent = text;
  return element;
}
function find(id) {
  return document.getElementById(id);
}
function throttled(ms, callback) {
  let last = null;
  let resting = false;
  const call = (...args) => {
    if (resting) return void (last = args);
    resting = true;
    callback(...args);
    setTimeout(() => {
      resting = false;
      const again = last;
      last = null;
      if (again) call(...again);
    }, ms);
  };
  return call;
}

// demo/people.ts
var FIRST = ["amber", "brave", "calm", "clever", "coral", "gentle", "lucky", "mellow", "quiet", "sunny"];
var SECOND = ["badger", "falcon", "fox", "heron", "lynx", "marten", "otter", "owl", "seal", "wren"];
function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}
function inventName() {
  return `${pick(FIRST)}-${pick(SECOND)}`;
}
function cleanName(text) {
  return text.trim().replace(/\s+/g, "-").replace(/[^A-Za-z0-9_-]/g, "").slice(0, 24);
}
function hueOf(name) {
  let hash = 0;
  for (const character of name) hash = hash * 31 + character.codePointAt(0) >>> 0;
  return String(Math.round(hash * 137.508 % 360));
}
function avatar(name) {
  const parts = name.split(/[-_ ]+/).filter(Boolean);
  const initials = parts.slice(0, 2).map((part2) => part2[0].toUpperCase());
  const element = make("span", "avatar", initials.join("") || "?");
  element.style.setProperty("--hue", hueOf(name));
  element.setAttribute("aria-hidden", "true");
  return element;
}
function nameOf({ client, user }) {
  return user ?? client.slice(0, 8);
}

// demo/board.ts
var CHANNEL = "ringgate-demo:board";
var CURSORS = "cursors:demo";
var TINTS = 5;
var MOST_NOTES = 40;
var CURSOR_MS = 60;
var IDLE_MS = 8e3;
function notesOf(value) {
  const notes = value?.notes ?? {};
  const number = (given, most) => typeof given === "number" ? Math.min(most, Math.max(0, given)) : 0;
  return new Map(
    Object.entries(notes).filter(([, note]) => typeof note === "object" && note !== null).slice(0, MOST_NOTES).map(([id, note]) => {
      const { x, y, z, text, tint } = note;
      const place = { x: number(x, 1), y: number(y, 1), z: number(z, 1e6), tint: number(tint, TINTS - 1) };
      return [id, { ...place, text: typeof text === "string" ? text : "" }];
    })
  );
}
function freePlace(notes) {
  const share = () => Math.round(1e3 * (0.08 + 0.84 * Math.random())) / 1e3;
  const room = ({ x, y }) => Math.min(1, ...notes.map((note) => Math.hypot(note.x - x, note.y - y)));
  const places = Array.from({ length: 20 }, () => ({ x: share(), y: share() }));
  return places.reduce((best, place) => room(place) > room(best) ? place : best);
}
var Board = class {
  #client;
  #shared;
  #board = find("board");
  #elements = /* @__PURE__ */ new Map();
  #cursors = /* @__PURE__ */ new Map();
  #point;
  constructor(client) {
    this.#client = client;
    this.#shared = state(client, CHANNEL);
    this.#shared.on("change", (value) => this.#draw(notesOf(value)));
    this.#shared.on("conflict", (conflict) => this.#conflict(conflict));
    this.#shared.on("ended", ({ message }) => find("board-hint").textContent = `No access to the board: ${message}`);
    client.subscribe(CURSORS, ({ from, data }) => from && this.#cursor(from, data), { resume: false });
    this.#point = throttled(CURSOR_MS, (place) => {
      client.publish(CURSORS, place, { ttl: 0 }).catch(() => void 0);
    });
    this.#listen();
  }
  /** Somebody is gone, and the cursor with them. */
  left({ client }) {
    const cursor = this.#cursors.get(client);
    clearTimeout(cursor?.timer);
    cursor?.element.remove();
    this.#cursors.delete(client);
  }
  // ---- notes ----
  #change(id, note) {
    this.#shared.update({ notes: { [id]: note } }).catch(() => void 0);
    find("board-pending").hidden = this.#client.status.state === "online";
  }
  #draw(notes) {
    find("board-hint").hidden = notes.size > 0;
    for (const [id, element] of this.#elements) {
      if (notes.has(id)) continue;
      element.remove();
      this.#elements.delete(id);
    }
    for (const [id, note] of notes) {
      const element = this.#elements.get(id) ?? this.#element(id);
      element.style.setProperty("--x", String(note.x));
      element.style.setProperty("--y", String(note.y));
      element.style.zIndex = String(note.z + 1);
      element.dataset["tint"] = String(Math.floor(note.tint));
      const text = element.querySelector("textarea");
      if (text.value !== note.text) text.value = note.text;
    }
  }
  #element(id) {
    const element = make("article", "note");
    element.dataset["id"] = id;
    const bar = make("div", "handle");
    bar.title = "Drag";
    const tint = make("button", "tint");
    tint.setAttribute("aria-label", "Another colour");
    const remove = make("button", "remove", "×");
    remove.setAttribute("aria-label", "Remove the note");
    const text = make("textarea");
    text.maxLength = 280;
    text.placeholder = "Write…";
    text.setAttribute("aria-label", "Text of the note");
    bar.append(tint, remove);
    element.append(bar, text);
    tint.type = remove.type = "button";
    tint.addEventListener("click", () => {
      this.#change(id, { tint: (Number(element.dataset["tint"]) + 1) % TINTS });
    });
    remove.addEventListener("click", () => this.#change(id, null));
    text.addEventListener("input", () => this.#change(id, { text: text.value }));
    text.addEventListener("focus", () => this.#raise(id));
    bar.addEventListener("pointerdown", (event) => event.target === bar && this.#drag(id, element, event));
    this.#elements.set(id, element);
    this.#board.append(element);
    return element;
  }
  #raise(id) {
    const notes = notesOf(this.#shared.value);
    const top = Math.max(0, ...[...notes.values()].map(({ z }) => z));
    if (notes.get(id) && notes.get(id).z < top) this.#change(id, { z: top + 1 });
  }
  #drag(id, element, down) {
    const bar = down.target;
    const board = this.#board.getBoundingClientRect();
    const note = element.getBoundingClientRect();
    const grip = { x: down.clientX - note.left, y: down.clientY - note.top };
    const share = (at, room) => Math.round(1e3 * Math.min(1, Math.max(0, at / Math.max(1, room)))) / 1e3;
    const move = throttled(30, (event) => {
      const x = share(event.clientX - board.left - grip.x, board.width - note.width);
      const y = share(event.clientY - board.top - grip.y, board.height - note.height);
      this.#change(id, { x, y });
    });
    this.#raise(id);
    element.classList.add("dragged");
    bar.setPointerCapture(down.pointerId);
    bar.addEventListener("pointermove", move);
    const done = () => {
      element.classList.remove("dragged");
      bar.removeEventListener("pointermove", move);
    };
    bar.addEventListener("lostpointercapture", done, { once: true });
  }
  #add(place) {
    const notes = notesOf(this.#shared.value);
    if (notes.size >= MOST_NOTES) return;
    const id = Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(36)).join("");
    const top = Math.max(0, ...[...notes.values()].map(({ z }) => z));
    const { x, y } = place ?? freePlace([...notes.values()]);
    this.#change(id, { x, y, z: top + 1, text: "", tint: notes.size % TINTS });
    this.#elements.get(id)?.querySelector("textarea")?.focus();
  }
  #conflict({ paths, from }) {
    const who = from ? nameOf(from) : "Somebody";
    for (const id of new Set(paths.map(([, id2]) => id2))) {
      const element = id === void 0 ? void 0 : this.#elements.get(id);
      if (!element) continue;
      element.querySelector(".both")?.remove();
      const said = make("p", "both", `${who} changed this too: yours is kept`);
      element.append(said);
      setTimeout(() => said.remove(), 6e3);
    }
  }
  // ---- cursors ----
  #cursor(from, data) {
    const { status } = this.#client;
    if (status.state !== "online" || from.client === status.client) return;
    const { x, y } = data ?? {};
    if (typeof x !== "number" || typeof y !== "number") return this.left(from);
    const element = this.#cursors.get(from.client)?.element ?? this.#cursorOf(from);
    clearTimeout(this.#cursors.get(from.client)?.timer);
    element.style.setProperty("--x", String(Math.min(1, Math.max(0, x))));
    element.style.setProperty("--y", String(Math.min(1, Math.max(0, y))));
    this.#cursors.set(from.client, { element, timer: setTimeout(() => this.left(from), IDLE_MS) });
  }
  #cursorOf(from) {
    const element = make("div", "cursor");
    element.style.setProperty("--hue", hueOf(nameOf(from)));
    element.append(make("i"), make("span", "", nameOf(from)));
    this.#board.append(element);
    return element;
  }
  #listen() {
    const place = ({ clientX, clientY }) => {
      const { left, top, width, height } = this.#board.getBoundingClientRect();
      const round = (share) => Math.round(1e3 * Math.min(1, Math.max(0, share))) / 1e3;
      return { x: round((clientX - left) / width), y: round((clientY - top) / height) };
    };
    this.#board.addEventListener("pointermove", (event) => this.#point(place(event)));
    this.#board.addEventListener("pointerleave", () => this.#point(null));
    this.#board.addEventListener("dblclick", (event) => event.target === this.#board && this.#add(place(event)));
    find("add-note").addEventListener("click", () => this.#add());
    this.#client.on("status", ({ state: now }) => now === "online" && (find("board-pending").hidden = true));
  }
};

// demo/chat.ts
var ROOM = "chat:demo";
var TYPING = "typing:demo";
var MOST_LINES = 400;
var GROUP_MS = 12e4;
var TYPING_MS = 3500;
function textOf(data) {
  if (data instanceof Uint8Array) return { text: `${data.length} bytes`, code: true };
  if (typeof data === "string") return { text: data };
  const { text } = data ?? {};
  return typeof text === "string" ? { text } : { text: JSON.stringify(data), code: true };
}
function clockTime(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
var Chat = class {
  #client;
  #me;
  #room;
  #log = find("log");
  #empty = find("empty");
  #newer = find("newer");
  #text = find("text");
  #pending = /* @__PURE__ */ new Map();
  #typing = /* @__PURE__ */ new Map();
  #tellTyping;
  #last = null;
  #begun = false;
  #metMembers = false;
  constructor(client, me) {
    this.#client = client;
    this.#me = me;
    this.#room = client.subscribe(ROOM, (message) => this.#message(message), { presence: true });
    this.#room.on("subscribed", ({ resumed }) => void (resumed && this.#begun ? void 0 : this.#load()));
    this.#room.on("members", (members) => this.#showMembers(members));
    this.#room.on("join", (member) => this.#comes(member, "joined"));
    this.#room.on("leave", (member) => this.#comes(member, "left"));
    this.#room.on("ended", (error) => this.notice(`No access to the chat: ${error.message}`));
    this.#room.on("lost", ({ reason }) => reason !== "resume" && this.notice("Some messages were skipped"));
    client.subscribe(TYPING, ({ from }) => from && this.#types(nameOf(from)), { resume: false });
    this.#tellTyping = throttled(1500, () => {
      client.publish(TYPING, 1, { ttl: 0 }).catch(() => void 0);
    });
    this.#listen();
  }
  onLeave(callback) {
    this.#room.on("leave", callback);
  }
  notice(text) {
    this.#last = null;
    this.#append(make("p", "notice", text), true);
  }
  // ---- what was said ----
  async #load() {
    const again = this.#begun;
    this.#begun = true;
    const { position } = this.#room;
    try {
      const page = await this.#client.history(ROOM, { limit: 50, before: (position?.offset ?? 0) + 1 });
      if (again) this.#clear();
      const newer = [...this.#log.querySelectorAll(".line:not(.pending), .notice")];
      this.#last = null;
      for (const publication of page.publications) this.#message(publication);
      for (const line of newer) this.#append(line, true);
      if (again) this.notice("The gateway started afresh: what is older than its history is gone");
    } catch (error) {
      this.notice(`What was said before cannot be shown: ${error.message}`);
    }
    this.#scroll();
  }
  #message(message) {
    const key = message.data?.key;
    const pending = typeof key === "string" ? this.#pending.get(key) : void 0;
    if (pending) {
      pending.remove();
      this.#pending.delete(key);
    }
    if (message.from) this.#typed(nameOf(message.from));
    this.#append(this.#line(message), pending !== void 0);
    if (pending) this.#scroll();
  }
  #line(said, pending = false) {
    const name = said.from ? nameOf(said.from) : "app service";
    const mine = said.from?.user === this.#me();
    const joined2 = this.#last?.name === name && said.time - this.#last.time < GROUP_MS;
    if (!pending) this.#last = { name, time: said.time };
    const kinds = [mine && "mine", !said.from && "service", joined2 && "joined", pending && "pending"];
    const line = make("article", ["line", ...kinds.filter(Boolean)].join(" "));
    const { text, code } = textOf(said.data);
    const head = make("div", "head");
    head.append(make("span", "who", mine ? "You" : name));
    if (!said.from) head.append(make("span", "tag", "HTTP"));
    head.append(make("time", "", clockTime(said.time)));
    const body = make("div", "body");
    body.append(head, make(code ? "code" : "p", "bubble", text));
    line.append(avatar(name), body);
    return line;
  }
  #append(line, quiet = false) {
    const follow = this.#atEnd();
    if (!line.classList.contains("notice")) this.#empty.hidden = true;
    const firstPending = this.#log.querySelector(".pending");
    this.#log.insertBefore(line, line.classList.contains("pending") ? null : firstPending);
    while (this.#log.childElementCount > MOST_LINES) this.#empty.nextElementSibling.remove();
    if (follow) this.#scroll();
    else if (!quiet) this.#newer.hidden = false;
  }
  #clear() {
    for (const line of this.#log.querySelectorAll(".line:not(.pending), .notice")) line.remove();
    this.#last = null;
  }
  #atEnd() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 60;
  }
  #scroll() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#newer.hidden = true;
  }
  // ---- saying something ----
  #say(text) {
    const key = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
    const { status } = this.#client;
    const from = { client: status.state === "online" ? status.client : "", user: this.#me() };
    const line = this.#line({ from, data: text, time: Date.now() }, true);
    this.#pending.set(key, line);
    this.#append(line, true);
    this.#scroll();
    this.#client.publish(ROOM, { text, key }, { key }).catch((error) => {
      this.#pending.delete(key);
      line.classList.replace("pending", "failed");
      line.querySelector(".body").append(make("p", "why", error.message));
    });
  }
  #listen() {
    find("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#text.value.trim();
      this.#text.value = "";
      if (text) this.#say(text);
    });
    this.#text.addEventListener("input", () => this.#text.value && this.#tellTyping());
    this.#newer.addEventListener("click", () => this.#scroll());
    this.#log.addEventListener("scroll", () => this.#atEnd() && (this.#newer.hidden = true));
  }
  // ---- who is here ----
  #comes(member, what) {
    const { status } = this.#client;
    if (status.state !== "online" || member.client === status.client || !this.#metMembers) return;
    if (nameOf(member) !== this.#me()) this.notice(`${nameOf(member)} ${what}`);
    if (what === "left") this.#typed(nameOf(member));
  }
  #showMembers(members) {
    const { status } = this.#client;
    const own = status.state === "online" ? status.client : "";
    const order = [...members.values()].sort(
      (a, b) => Number(b.client === own) - Number(a.client === own) || nameOf(a).localeCompare(nameOf(b))
    );
    this.#metMembers = true;
    find("online").textContent = String(members.size);
    find("members").replaceChildren(
      ...order.map((member) => {
        const item = make("li", member.client === own ? "self" : "");
        item.title = nameOf(member);
        item.append(avatar(nameOf(member)), make("span", "who", nameOf(member)));
        return item;
      })
    );
  }
  // ---- who is typing ----
  #types(name) {
    if (name === this.#me()) return;
    clearTimeout(this.#typing.get(name));
    this.#typing.set(name, setTimeout(() => this.#typed(name), TYPING_MS));
    this.#showTyping();
  }
  #typed(name) {
    clearTimeout(this.#typing.get(name));
    if (this.#typing.delete(name)) this.#showTyping();
  }
  #showTyping() {
    const names = [...this.#typing.keys()];
    const who = names.length > 2 ? "Several people" : names.join(" and ");
    const line = find("typing");
    line.dataset["on"] = String(names.length > 0);
    find("typing-who").textContent = names.length ? `${who} ${names.length > 1 ? "are" : "is"} typing` : "";
  }
};

// demo/network.ts
var DEAD_MS = 300;
var cut = false;
var alive = /* @__PURE__ */ new Set();
var CuttableSocket = class {
  binaryType = "blob";
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #socket;
  constructor(url, protocols) {
    alive.add(this);
    if (cut) {
      setTimeout(() => this.end(1006, ""), DEAD_MS);
      return;
    }
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => {
      socket.binaryType = this.binaryType;
      this.onopen?.();
    };
    socket.onmessage = (event) => this.onmessage?.(event);
    socket.onclose = ({ code, reason }) => this.end(code, reason);
    this.#socket = socket;
  }
  send(data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }
  close() {
    alive.delete(this);
    this.#socket?.close();
  }
  end(code, reason) {
    if (!alive.delete(this)) return;
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    this.onclose?.({ code, reason });
  }
};
function cutNetwork(now) {
  cut = now;
  if (cut) for (const socket of [...alive]) socket.end(1006, "");
}

// demo/app.ts
function edgeUrl(config, name) {
  const scheme = config.tls || location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.hostname}:${config.ws_port}${config.path}?user=${encodeURIComponent(name)}`;
}
function showStatus(status) {
  const pill = find("status");
  const texts = {
    online: () => "Connected",
    connecting: () => "Connecting…",
    reconnecting: () => `Reconnecting in ${status.state === "reconnecting" ? status.seconds : 0} s`,
    offline: () => status.state === "offline" && status.reason || "Disconnected"
  };
  pill.dataset["state"] = status.state;
  pill.disabled = status.state === "online" || status.state === "connecting";
  pill.title = pill.disabled ? "" : "Connect now";
  find("status-text").textContent = texts[status.state]();
}
function listen(client, name) {
  const cut2 = find("cut");
  cut2.addEventListener("change", () => {
    cutNetwork(cut2.checked);
    document.body.dataset["cut"] = String(cut2.checked);
    if (!cut2.checked) client.wake();
  });
  find("status").addEventListener("click", () => client.connect());
  find("name-form").addEventListener("submit", (event) => {
    event.preventDefault();
    name.blur();
  });
  name.addEventListener("change", () => {
    name.value = cleanName(name.value) || inventName();
    if (name.value === sessionStorage.getItem("name")) return;
    sessionStorage.setItem("name", name.value);
    client.close();
    client.connect();
  });
  showTab("chat");
  for (const tab of document.querySelectorAll("#tabs button")) {
    tab.addEventListener("click", () => showTab(tab.value));
  }
}
function showTab(tab) {
  document.body.dataset["tab"] = tab;
  for (const button of document.querySelectorAll("#tabs button")) {
    button.setAttribute("aria-pressed", String(button.value === tab));
  }
}
function askForToken(client, name) {
  const form = find("login-form");
  const token = find("token");
  client.on("status", (status) => {
    form.hidden = status.state !== "offline";
    name.disabled = true;
    if (status.state === "online" && status.user) name.value = status.user;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", token.value.trim());
    token.value = "";
    client.connect();
  });
}
function showCommand() {
  const body = `{"channel":"chat:demo","data":"Hello from curl"}`;
  const command = `curl ${location.origin}/api/publish -H 'Content-Type: application/json' -d '${body}'`;
  const copy = find("copy");
  find("curl").textContent = command;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    copy.textContent = "Copied";
    setTimeout(() => copy.textContent = "Copy", 1500);
  });
}
async function main() {
  const config = await (await fetch("/demo/config.json")).json();
  const name = find("name");
  name.value = cleanName(sessionStorage.getItem("name") ?? "") || inventName();
  sessionStorage.setItem("name", name.value);
  const client = new Client(() => edgeUrl(config, name.value), {
    WebSocket: CuttableSocket,
    ...config.login && { token: () => sessionStorage.getItem("token") }
  });
  client.on("status", showStatus);
  document.querySelector("ringgate-status").client = client;
  const chat = new Chat(client, () => name.value);
  const board = new Board(client);
  chat.onLeave((member) => board.left(member));
  listen(client, name);
  if (config.login) askForToken(client, name);
  showCommand();
  client.connect();
}
void main();
