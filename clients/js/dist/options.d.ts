/** Times are in milliseconds. */
export declare const DEFAULTS: {
    readonly backoffFirst: 500;
    readonly backoffMost: 8000;
    readonly connectTimeout: 10000;
    readonly probeTimeout: 4000;
    readonly maxQueued: 1000;
    readonly ttl: 240000;
    readonly timeout: 10000;
};
/** Times are in milliseconds. */
export interface Settings {
    /** Bound of the first wait between attempts (500); it lies evenly between 0 and the bound, which doubles. */
    backoffFirst: number;
    /** Bound of every wait between attempts (8,000). */
    backoffMost: number;
    /** From an attempt's beginning to `hello` (10,000). */
    connectTimeout: number;
    /** Within this a connection has to show that it is alive after the tab woke (4,000). */
    probeTimeout: number;
    /** Commands that wait to be sent, or for their answers, at the most (1,000). */
    maxQueued: number;
    /** How long a publication is kept and repeated until it is answered (240,000). */
    ttl: number;
    /** How long the answer to any other command is waited for (10,000). */
    timeout: number;
}
/** Return every setting: those that are given, and else what they are at first. */
export declare function settingsOf(given: Partial<Settings>): Settings;
