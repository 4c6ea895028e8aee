// What can be set about a client, and what it is where nothing is said.
//
// The names, and what they are at first, are those of the Python client (gateway/client/options.py), whose times
// are in seconds: a test compares the two.

/** Times are in milliseconds. */
export const DEFAULTS = {
  backoffFirst: 500,
  backoffMost: 8000,
  connectTimeout: 10_000,
  probeTimeout: 4000,
  maxQueued: 1000,
  ttl: 240_000,
  timeout: 10_000,
} as const;

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
export function settingsOf(given: Partial<Settings>): Settings {
  const settings: Settings = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as (keyof Settings)[]) settings[name] = given[name] ?? settings[name];
  return settings;
}
