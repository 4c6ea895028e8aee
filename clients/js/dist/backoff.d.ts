export interface Backoff {
    /** Bound of the first wait, in milliseconds. */
    first: number;
    /** Bound of every wait, in milliseconds. */
    most: number;
}
/** How an answered command or a subscription is tried again, where the error invites that. */
export declare const RETRY: Backoff;
/** What the end of a connection asks for: nothing more, a wait, or another attempt at once. */
export type Verdict = "refused" | "lost" | "again";
/** Read a close code by its range: docs/protocol.md, "Close codes". */
export declare function verdictOf(code: number): Verdict;
/**
 * Return the milliseconds to wait before attempt number `attempt` (from 0): exponential back-off with full
 * jitter, so evenly spread between 0 and a bound that doubles.  `random` is like Math.random.
 */
export declare function delayMs(attempt: number, { first, most }: Backoff, random: () => number): number;
/** Return the milliseconds to wait where the gateway said between which two. */
export declare function advisedMs([least, most]: readonly [number, number], random: () => number): number;
