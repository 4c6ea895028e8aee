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

// src/state.ts
import { RinggateError } from "./index.js";

// src/keys.ts
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
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
export {
  SharedState,
  state
};
