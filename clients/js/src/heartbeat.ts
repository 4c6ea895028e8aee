// Signs of life in both directions: a script does not see WebSocket pings, so it sends the command `ping`.
//
// It knows no socket.  What always holds: a gateway from which nothing came for twice the period is called silent;
// one that answers is not, however late the timers of a background tab come.

export interface HeartbeatOptions {
  ping(): void;
  /** Nothing was heard in time. */
  silent(): void;
  /** Milliseconds within which a `probe` has to be answered. */
  probeMs: number;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #everyMs = 0;
  #tickAt = 0;
  #asked = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Begin with a connection; `everyMs` is the period that the gateway asked for. */
  start(everyMs: number): void {
    this.stop();
    this.#everyMs = everyMs;
    this.#schedule();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.heard();
    this.#everyMs = 0;
  }

  /** Something came from the gateway. */
  heard(): void {
    this.#asked = false;
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }

  /** Find out within `probeMs` whether the gateway is there. */
  probe(): void {
    if (!this.#everyMs || this.#deadline !== undefined) return;
    this.#deadline = setTimeout(() => this.#options.silent(), this.#options.probeMs);
    this.#options.ping();
  }

  #schedule(): void {
    this.#tickAt = Date.now() + this.#everyMs;
    this.#timer = setTimeout(() => this.#tick(), this.#everyMs);
  }

  #tick(): void {
    // A timer that comes so late slept, and its messages may be waiting behind it: ask before judging.
    const slept = Date.now() - this.#tickAt > this.#everyMs / 2;
    this.#schedule();
    if (slept) return this.probe();
    if (this.#asked) return this.#options.silent();
    this.#asked = true;
    this.#options.ping();
  }
}
