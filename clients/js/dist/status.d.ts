import type { State } from "./machine.js";
export type Status = {
    readonly state: "connecting";
} | {
    readonly state: "online";
    readonly client: string;
    readonly user?: string;
}
/** The next attempt is in so many seconds, rounded up. */
 | {
    readonly state: "reconnecting";
    readonly seconds: number;
}
/** No connection, and no attempt either: not begun, closed, or refused; then `code` and `reason` say why. */
 | {
    readonly state: "offline";
    readonly code?: number | string;
    readonly reason?: string;
};
/** What is known beside the state. */
export interface Details {
    client: string;
    user?: string | undefined;
    /** When the next attempt is, on Date.now's clock. */
    retryAt: number;
    code?: number | string | undefined;
    reason?: string | undefined;
}
export declare class StatusStream {
    #private;
    constructor(tell: (status: Status) => void);
    get status(): Status;
    /** The machine has come to `state`. */
    show(state: State, details: Details): void;
}
/** Return the status that belongs to a state of the machine at the time `now`. */
export declare function statusOf(state: State, details: Details, now: number): Status;
