// How long to wait before the next attempt, and what a close code asks for.  Pure functions.

export interface Backoff {
  /** Bound of the first wait, in milliseconds. */
  first: number;
  /** Bound of every wait, in milliseconds. */
  most: number;
}

/** How an answered command or a subscription is tried again, where the error invites that. */
export const RETRY: Backoff = { first: 500, most: 10_000 };

/** What the end of a connection asks for: nothing more, a wait, or another attempt at once. */
export type Verdict = "refused" | "lost" | "again";

/** Read a close code by its range: docs/protocol.md, "Close codes". */
export function verdictOf(code: number): Verdict {
  if (code >= 4000 && code < 4100) return "refused";
  return code >= 4200 && code < 4300 ? "again" : "lost";
}

/**
 * Return the milliseconds to wait before attempt number `attempt` (from 0): exponential back-off with full
 * jitter, so evenly spread between 0 and a bound that doubles.  `random` is like Math.random.
 */
export function delayMs(attempt: number, { first, most }: Backoff, random: () => number): number {
  return random() * Math.min(most, first * 2 ** Math.min(attempt, 30));
}

/** Return the milliseconds to wait where the gateway said between which two. */
export function advisedMs([least, most]: readonly [number, number], random: () => number): number {
  return least + random() * Math.max(0, most - least);
}
