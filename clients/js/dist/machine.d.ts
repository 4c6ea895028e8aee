export type State = "idle" | "asking" | "opening" | "online" | "waiting" | "stopped";
export type Input = "connect" | "token" | "hello" | "lost" | "again" | "refused" | "timer" | "wake" | "close";
export type Effect = "ask" | "open" | "greet" | "drop" | "wait" | "rest" | "probe";
type Row = Partial<Record<Input, readonly [State, ...Effect[]]>>;
export declare const TABLE: Readonly<Record<State, Row>>;
/** Return the state that follows, and what is to be done; `null` if the input means nothing in this state. */
export declare function step(state: State, input: Input): {
    next: State;
    effects: Effect[];
} | null;
export {};
