// What an application shows of the connection: one value, told anew whenever it changes.
//
// It knows the states of the machine, and no socket.  While the client waits, it is told once a second.

import type { State } from "./machine.js";

export type Status =
  | { readonly state: "connecting" }
  | { readonly state: "online"; readonly client: string; readonly user?: string }
  /** The next attempt is in so many seconds, rounded up. */
  | { readonly state: "reconnecting"; readonly seconds: number }
  /** No connection, and no attempt either: not begun, closed, or refused; then `code` and `reason` say why. */
  | { readonly state: "offline"; readonly code?: number | string; readonly reason?: string };

/** What is known beside the state. */
export interface Details {
  client: string;
  user?: string | undefined;
  /** When the next attempt is, on Date.now's clock. */
  retryAt: number;
  code?: number | string | undefined;
  reason?: string | undefined;
}

export class StatusStream {
  readonly #tell: (status: Status) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #status: Status = { state: "offline" };

  constructor(tell: (status: Status) => void) {
    this.#tell = tell;
  }

  get status(): Status {
    return this.#status;
  }

  /** The machine has come to `state`. */
  show(state: State, details: Details): void {
    clearTimeout(this.#timer);
    const status = statusOf(state, details, Date.now());
    if (status.state === "reconnecting") {
      const nextMs = details.retryAt - Date.now() - (status.seconds - 1) * 1000;
      this.#timer = setTimeout(() => this.show(state, details), Math.max(nextMs, 50));
    }
    if (JSON.stringify(status) === JSON.stringify(this.#status)) return;
    this.#status = status;
    this.#tell(status);
  }
}

/** Return the status that belongs to a state of the machine at the time `now`. */
export function statusOf(state: State, details: Details, now: number): Status {
  const { client, user, retryAt, code, reason } = details;
  switch (state) {
    case "asking":
    case "opening":
      return { state: "connecting" };
    case "online":
      return { state: "online", client, ...(user !== undefined && { user }) };
    case "waiting":
      return { state: "reconnecting", seconds: Math.max(0, Math.ceil((retryAt - now) / 1000)) };
    case "idle":
      return { state: "offline" };
    case "stopped":
      return { state: "offline", ...(code !== undefined && { code }), ...(reason && { reason }) };
  }
}
