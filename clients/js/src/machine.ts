// The state machine of the connection, as a table.
//
// It knows no socket and no clock: `step` says which state follows and what has to be done for it, in that
// order.  What always holds: a pair that is not in the table changes nothing and does nothing.

export type State =
  | "idle" // the application wants no connection
  | "asking" // the application is asked for a token
  | "opening" // a socket was made, and no hello came yet
  | "online" // the gateway said hello
  | "waiting" // for the next attempt
  | "stopped"; // the gateway refused: no further attempt, until the application asks for one

export type Input =
  | "connect" // the application wants to be connected
  | "token" // the token is there, or none is needed
  | "hello" // the gateway let the client in
  | "lost" // the connection or the attempt ended; try again after a back-off
  | "again" // it ended; try again at once
  | "refused" // it ended; do not try again
  | "timer" // the back-off is over
  | "wake" // the device is online again, or the tab is looked at again
  | "close"; // the application wants no connection any more

export type Effect =
  | "ask" // for the token, if the application has one to give
  | "open" // make a socket
  | "greet" // take up what was subscribed, send what waits
  | "drop" // the socket and everything that waits for an answer on it
  | "wait" // start the timer of the back-off
  | "rest" // stop that timer
  | "probe"; // find out at once whether the connection is alive

type Row = Partial<Record<Input, readonly [State, ...Effect[]]>>;

export const TABLE: Readonly<Record<State, Row>> = {
  idle: {
    connect: ["asking", "ask"],
  },
  asking: {
    token: ["opening", "open"],
    lost: ["waiting", "wait"],
    refused: ["stopped"],
    close: ["idle"],
  },
  opening: {
    hello: ["online", "greet"],
    lost: ["waiting", "drop", "wait"],
    again: ["asking", "drop", "ask"],
    refused: ["stopped", "drop"],
    close: ["idle", "drop"],
  },
  online: {
    wake: ["online", "probe"],
    lost: ["waiting", "drop", "wait"],
    again: ["asking", "drop", "ask"],
    refused: ["stopped", "drop"],
    close: ["idle", "drop"],
  },
  waiting: {
    timer: ["asking", "rest", "ask"],
    wake: ["asking", "rest", "ask"],
    connect: ["asking", "rest", "ask"],
    close: ["idle", "rest"],
  },
  stopped: {
    connect: ["asking", "ask"],
    close: ["idle"],
  },
};

/** Return the state that follows, and what is to be done; `null` if the input means nothing in this state. */
export function step(state: State, input: Input): { next: State; effects: Effect[] } | null {
  const entry = TABLE[state][input];
  if (!entry) return null;
  const [next, ...effects] = entry;
  return { next, effects };
}
