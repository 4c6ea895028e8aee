// A shared state: one JSON value that many change, with a local copy that is changed at once.
//
//   const board = state(client, "board:1");
//   board.on("change", (value) => draw(value));
//   board.update({ notes: { a: { x: 3 } } });
//
// The gateway merges one patch after the other, each on the version that it names.  Here there are the value that
// the gateway confirmed and the patches that it has not confirmed yet; what is shown is the latter on top of the
// former.  What always holds: one update is under way at a time; each patch has one key for good, so it happens once;
// after a patch of somebody else the own ones are put on top again, and what both touch is told as a conflict.

import type { SubscribeOptions, Subscription } from "./channel.js";
import type { Client } from "./client.js";
import { Emitter } from "./emitter.js";
import { RinggateError } from "./index.js"; // from outside of this module's bundle, so that there is one such class
import { randomKey } from "./keys.js";
import { compose, difference, merge, overlap, same, type Json } from "./merge-patch.js";
import type { GatewayEvent, Sender } from "./protocol.js";

export type { Json } from "./merge-patch.js";

/** A change: a merge patch, or a function that makes one of the value it will be applied to. */
export type Change = Json | ((value: Json) => Json);

/** Somebody else changed what is being changed here.  Unless it is given up, the own change wins. */
export interface Conflict {
  /** The places that both touch, as lists of names from the outside in. */
  paths: string[][];
  /** The patch of one's own that is not confirmed yet. */
  mine: Json;
  /** What the other one changed, as a merge patch. */
  theirs: Json;
  from?: Sender;
  /** Give the own patch up: its promise is broken with `aborted`, unless it happened already. */
  drop(): void;
}

export interface StateEvents {
  /** The value to show; at once after an own change, and when somebody else's came. */
  change: Json;
  conflict: Conflict;
  /** The subscription is over: refused, or ended by an app service. */
  ended: RinggateError;
}

interface Pending {
  change: Change;
  key: string;
  /** What is on its way to the gateway, if anything is. */
  flying: { patch: Json } | null;
  /** It was on its way, so the gateway may know its key: nothing can be added to it. */
  tried: boolean;
  /** What came as a patch is this one, so the confirmed value has it. */
  applied: boolean;
  /** The version that it made, once the gateway said so. */
  version: number | null;
  dropped: boolean;
  attempts: number;
  resolve: ((version: number) => void)[];
  reject: ((error: RinggateError) => void)[];
}

const RETRY_MS = 500;

/** Open the shared state of a channel; its namespace has `state = true`. */
export function state(client: Client, channel: string, options: Pick<SubscribeOptions, "token"> = {}): SharedState {
  return new SharedState(client, channel, options);
}

/** Those of one client and channel share a subscription, which tells what is there only once. */
const siblings = new WeakMap<Client, Set<SharedState>>();

export class SharedState extends Emitter<StateEvents> {
  readonly #client: Client;
  readonly #subscription: Subscription;
  #confirmed: Json = null;
  #shown: Json = null;
  #version = -1; // before the first `state`
  #epoch = "";
  #pending: Pending[] = [];
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(client: Client, channel: string, options: Pick<SubscribeOptions, "token">) {
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
  #adopt(): void {
    const all = siblings.get(this.#client) ?? new Set();
    siblings.set(this.#client, all.add(this));
    const other = [...all].find((each) => each.channel === this.channel && each.#version >= 0);
    if (!other) return;
    this.#confirmed = this.#shown = other.#confirmed;
    this.#version = other.#version;
    this.#epoch = other.#epoch;
  }

  get channel(): string {
    return this.#subscription.channel;
  }

  /** The value to show; `null` before the first `state` came. */
  get value(): Json {
    return this.#shown;
  }

  /** What the gateway confirmed, and as which version; -1 before the first `state` came. */
  get confirmed(): { value: Json; version: number } {
    return { value: this.#confirmed, version: this.#version };
  }

  /** How many changes are not confirmed yet. */
  get pending(): number {
    return this.#pending.length;
  }

  /**
   * Change the value, here at once and at the gateway as soon as may be.  The promise is kept with the version that
   * the change made, or broken with a RinggateError; the change is taken back then.
   */
  update(change: Change): Promise<number> {
    const copy = typeof change === "function" ? change : (JSON.parse(JSON.stringify(change)) as Json);
    return new Promise((resolve, reject) => {
      const last = this.#pending.at(-1);
      const both = last && !last.tried ? joined(last.change, copy) : undefined;
      if (last && both !== undefined) {
        last.change = both;
        last.resolve.push(resolve);
        last.reject.push(reject);
      } else this.#pending.push(pendingOf(copy, resolve, reject));
      this.#show();
      this.#send();
    });
  }

  /** Hear nothing more; changes that are not confirmed are broken off. */
  close(): void {
    this.#subscription.close();
    this.#breakOff(new RinggateError("closed"));
  }

  // ---- what the gateway says ----

  #event(event: GatewayEvent): void {
    const { type, version, epoch } = event as GatewayEvent & { version: number; epoch: string };
    if (type === "state" && !(epoch === this.#epoch && version < this.#version)) {
      this.#replace(event["data"] as Json, version, epoch);
    } else if (type === "patch" && version === this.#version + 1) {
      const patch = event["patch"] as Json;
      const from = event["from"] as Sender | undefined;
      this.#replace(merge(this.#confirmed, patch), version, this.#epoch, from, this.#isMine(patch, from));
    }
    this.#send();
  }

  /** Tell whether a patch is the one under way; it may come before its answer, and after a break from another id. */
  #isMine(patch: Json, from: Sender | undefined): boolean {
    const entry = this.#pending.find(({ flying }) => flying);
    const { status } = this.#client;
    const fromHere = status.state === "online" && from?.client === status.client;
    const found = entry !== undefined && same(entry.flying!.patch, patch);
    if (found) entry.applied = true;
    return found || fromHere;
  }

  #replace(value: Json, version: number, epoch: string, from?: Sender, mine = false): void {
    const before = this.#confirmed;
    const began = this.#version < 0;
    const anew = epoch !== this.#epoch;
    this.#confirmed = value;
    this.#version = version;
    this.#epoch = epoch;
    this.#pending = this.#pending.filter((entry) => {
      const done = entry.version !== null && (anew || entry.version <= version);
      if (done) for (const resolve of entry.resolve) resolve(entry.version!);
      return !done;
    });
    if (!mine && !began) this.#compare(before, value, from);
    this.#show();
  }

  #compare(before: Json, after: Json, from: Sender | undefined): void {
    const theirs = this.#pending.length ? difference(before, after) : undefined;
    if (theirs === undefined) return;
    for (const entry of [...this.#pending]) {
      // A function makes its patch anew of what is there then.
      if (entry.version !== null || entry.applied || typeof entry.change === "function") continue;
      const mine = entry.change;
      const paths = overlap(mine, theirs);
      const drop = () => this.#drop(entry);
      if (paths.length) this.emit("conflict", { paths, mine, theirs, ...(from && { from }), drop });
    }
  }

  #drop(entry: Pending): void {
    entry.dropped = true;
    if (!entry.flying) this.#settle(entry, new RinggateError("aborted"));
  }

  // ---- sending ----

  #send(): void {
    const entry = this.#pending.find(({ version }) => version === null);
    if (!entry || entry.flying || this.#version < 0 || this.#retry !== undefined) return;
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
      key: entry.key,
    };
    this.#client.request(command, true, this.#client.settings.ttl).then(
      (reply) => this.#done(entry, reply["version"] as number),
      (error: RinggateError) => this.#failed(entry, error),
    );
  }

  #done(entry: Pending, version: number): void {
    entry.flying = null;
    entry.version = version;
    if (version <= this.#version) this.#settle(entry); // else the patch is on its way
    this.#send();
  }

  #failed(entry: Pending, error: RinggateError): void {
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
  #stale(entry: Pending, { event }: RinggateError): void {
    const { version, epoch, data } = event as { version: number; epoch: string; data: Json };
    if (epoch !== this.#epoch || version > this.#version) this.#replace(data, version, epoch);
    else this.#show();
    if (++entry.attempts > 2) this.#later(Math.random() * Math.min(RETRY_MS, 20 * entry.attempts));
  }

  #later(ms: number): void {
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#send();
    }, ms);
  }

  // ---- the end of a change ----

  #settle(entry: Pending, error?: RinggateError): void {
    this.#pending = this.#pending.filter((each) => each !== entry);
    if (error === undefined) for (const resolve of entry.resolve) resolve(entry.version!);
    else for (const reject of entry.reject) reject(error);
    this.#show();
    this.#send();
  }

  #breakOff(error: RinggateError): void {
    siblings.get(this.#client)!.delete(this);
    clearTimeout(this.#retry);
    const broken = this.#pending;
    this.#pending = [];
    for (const { reject } of broken) for (const each of reject) each(error);
  }

  #show(): void {
    const put = (shown: Json, { change, applied, version }: Pending) =>
      applied || (version !== null && version <= this.#version) ? shown : merge(shown, patchOf(change, shown));
    const value = this.#pending.reduce(put, this.#confirmed);
    const changed = difference(this.#shown, value) !== undefined;
    this.#shown = value;
    if (changed) this.emit("change", value);
  }
}

function pendingOf(change: Change, resolve: (version: number) => void, reject: (error: RinggateError) => void): Pending {
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
    reject: [reject],
  };
}

function patchOf(change: Change, value: Json): Json {
  return typeof change === "function" ? change(value) : change;
}

function joined(first: Change, second: Change): Json | undefined {
  return typeof first === "function" || typeof second === "function" ? undefined : compose(first, second);
}
