// The queue of outgoing commands: kept while there is no connection, sent once there is one.
//
// A command is encoded when it is put in, so later changes to its data change nothing.  What always holds: at
// most `limit` commands are in it; each is settled exactly once, by its answer, its time to live, its signal, or
// the end of the client; commands of one channel go out in the order in which they were put in; and what may have
// been carried out already is only repeated if it is harmless (`repeat`), and not for longer than REPEAT_MS.

import { delayMs, RETRY } from "./backoff.js";
import { RinggateError } from "./errors.js";
import type { Command, Reply } from "./protocol.js";
import type { Encoded, Requests } from "./requests.js";

/** As long as the gateway surely knows an idempotency key (5 minutes by default), less a margin. */
export const REPEAT_MS = 240_000;

export interface Terms {
  /** Milliseconds after which it is given up; 0: it is sent now or never. */
  ttl: number;
  /** It may be carried out twice without harm: it has a key, or only reads. */
  repeat: boolean;
  /** Milliseconds for which an answer is waited for, once it was sent. */
  timeout?: number | undefined;
  signal?: AbortSignal | undefined;
}

interface Entry {
  id: number;
  message: Encoded;
  channel: string | undefined;
  terms: Terms;
  /** When it was first sent, on Date.now's clock; 0: never. */
  sentAt: number;
  /** It waits for its answer on the present connection. */
  flying: boolean;
  /** It waits for its next attempt, after an error that invites one. */
  holding: ReturnType<typeof setTimeout> | undefined;
  attempts: number;
  unknown: boolean;
  /** What its end has to undo: timers, and the listener of its signal. */
  undo: (() => void)[];
  resolve(reply: Reply): void;
  reject(error: RinggateError): void;
}

export class Outbox {
  readonly #requests: Requests;
  readonly #limit: number;
  readonly #random: () => number;
  readonly #entries = new Set<Entry>();
  #open = false;

  constructor(requests: Requests, limit: number, random: () => number) {
    this.#requests = requests;
    this.#limit = limit;
    this.#random = random;
  }

  /** How many commands are in it, those that wait for their answers included. */
  get size(): number {
    return this.#entries.size;
  }

  /** Put a command in; the promise is kept by its reply, or broken with a RinggateError. */
  add(command: Command, terms: Terms): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (terms.signal?.aborted) throw new RinggateError("aborted");
      if (this.#entries.size >= this.#limit) throw new RinggateError("queue_full");
      if (!terms.ttl && !this.#open) throw new RinggateError("expired", "there is no connection now");
      const entry: Entry = {
        ...this.#requests.encode(command),
        channel: command.channel,
        terms,
        sentAt: 0,
        flying: false,
        holding: undefined,
        attempts: 0,
        unknown: false,
        undo: [],
        resolve,
        reject,
      };
      this.#entries.add(entry);
      this.#limitTime(entry);
      this.#flush();
    });
  }

  /** There is a connection: send what waits, in order. */
  open(): void {
    this.#open = true;
    this.#flush();
  }

  /** The connection ended (after `Requests.drop`). `tooBig`: because of a message that was too big for the gateway. */
  shut(tooBig: boolean): void {
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
  clear(): void {
    for (const entry of [...this.#entries]) this.#giveUp(entry, "closed", "the client was closed");
  }

  #limitTime(entry: Entry): void {
    const { ttl, signal } = entry.terms;
    if (ttl && ttl < 2 ** 31) this.#after(entry, ttl, "expired", "its time to live is over");
    if (!signal) return;
    const abort = () => this.#giveUp(entry, "aborted", "it was aborted");
    signal.addEventListener("abort", abort);
    entry.undo.push(() => signal.removeEventListener("abort", abort));
  }

  #after(entry: Entry, ms: number, code: "expired" | "timeout", message: string): void {
    const timer = setTimeout(() => this.#giveUp(entry, code, message), ms);
    entry.undo.push(() => clearTimeout(timer));
  }

  #flush(): void {
    if (!this.#open) return;
    const held = new Set<string>();
    for (const entry of [...this.#entries]) {
      if (entry.holding !== undefined && entry.channel !== undefined) held.add(entry.channel);
      if (entry.flying || entry.holding !== undefined || held.has(entry.channel!)) continue;
      this.#send(entry);
    }
  }

  #send(entry: Entry): void {
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
        if (error.code !== "disconnected") this.#refused(entry, error); // for that one, see `shut`
      },
    });
  }

  #refused(entry: Entry, error: RinggateError): void {
    entry.flying = false;
    entry.unknown = error.unknown;
    if (!error.retry || !entry.terms.repeat || !entry.terms.ttl) return this.#fail(entry, error);
    entry.holding = setTimeout(() => {
      this.#release(entry);
      this.#flush();
    }, RETRY.first / 2 + delayMs(entry.attempts++, RETRY, this.#random));
  }

  #release(entry: Entry): void {
    clearTimeout(entry.holding);
    entry.holding = undefined;
  }

  #giveUp(entry: Entry, code: "expired" | "aborted" | "closed" | "timeout", message: string): void {
    if (this.#entries.has(entry)) this.#fail(entry, new RinggateError(code, message, undefined, entry.unknown));
  }

  #fail(entry: Entry, error: RinggateError): void {
    this.#remove(entry);
    entry.reject(error);
    this.#flush(); // what it held back
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry);
    this.#requests.forget(entry.id);
    this.#release(entry);
    for (const undo of entry.undo) undo();
  }
}
