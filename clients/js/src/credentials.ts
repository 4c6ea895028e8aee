// The token, and where the next one comes from.
//
// It knows no connection.  What always holds: the application's callback is called only when a token is needed
// that is not at hand: at first, shortly before the present one ends, and once after the gateway refused it.

/** A token, or how to get one: `null` means that there is none to be had, and that the client should stop. */
export type TokenSource = string | (() => string | null | Promise<string | null>);

/** Milliseconds before its end from which on a token is not used any more. */
const MARGIN_MS = 60_000;
const LONGEST_MS = 2 ** 31 - 1; // of setTimeout

export class Credentials {
  readonly #source: TokenSource | undefined;
  #token: string | null = null;
  #endsAt = Infinity;
  #marginMs = MARGIN_MS;
  #fresh = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
  }

  /** Return a token; `undefined`: none is used; `null`: none is to be had.  Throws what the callback throws. */
  async get(renew = false): Promise<string | null | undefined> {
    if (typeof this.#source !== "function") return this.#source;
    if (renew || this.#token === null || Date.now() >= this.#endsAt - this.#marginMs) {
      this.#token = await this.#source();
      this.#endsAt = Infinity;
      this.#fresh = true;
    }
    return this.#token;
  }

  /** Tell whether `get` needs the application at all. */
  get asks(): boolean {
    return typeof this.#source === "function";
  }

  /** The gateway took the token, which ends at `expires` (seconds since 1970); `renew` is called before that. */
  accepted(expires: number | undefined, renew: () => void): void {
    this.#fresh = false;
    clearTimeout(this.#timer);
    if (expires === undefined || !this.asks) return;
    const leftMs = expires * 1000 - Date.now();
    this.#endsAt = expires * 1000;
    this.#marginMs = Math.min(MARGIN_MS, leftMs / 4);
    this.#timer = setTimeout(renew, Math.min(LONGEST_MS, Math.max(1000, leftMs - this.#marginMs)));
  }

  /** The gateway did not take it.  Return whether another one may help. */
  refused(): boolean {
    const another = this.asks && !this.#fresh;
    this.#token = null;
    return another;
  }

  /** There is no connection any more that would have to be renewed. */
  rest(): void {
    clearTimeout(this.#timer);
  }
}
