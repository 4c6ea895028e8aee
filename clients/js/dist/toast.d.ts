import type { Status } from "./status.js";
export interface Toast {
    kind: "wait" | "good" | "bad";
    text: string;
    /** What its button says; no button without it. */
    action?: string;
}
export interface Labels {
    connecting: string;
    /** `{n}` becomes the number of seconds. */
    waiting: string;
    reconnecting: string;
    online: string;
    offline: string;
    retry: string;
}
export declare const LABELS: Labels;
export declare const SETTLE_MS = 400;
export declare const FIRST_MS = 1500;
export declare const GOOD_MS = 2500;
export declare class Toaster {
    #private;
    labels: Labels;
    constructor(show: (toast: Toast | null) => void, labels?: Labels);
    update(status: Status): void;
    hide(): void;
}
