import { type ServerCode } from "./codes.js";
/** Codes that no gateway sends: code, and whether the same thing may work later. */
export declare const LOCAL_CODES: {
    readonly aborted: false;
    readonly closed: false;
    readonly disconnected: true;
    readonly expired: true;
    readonly queue_full: true;
};
export type LocalCode = keyof typeof LOCAL_CODES;
export type ErrorCode = ServerCode | LocalCode;
export declare class RinggateError extends Error {
    readonly code: ErrorCode | (string & {});
    readonly retry: boolean;
    readonly unknown: boolean;
    /** What the gateway said, with fields of its own for some codes. */
    readonly event: Readonly<Record<string, unknown>>;
    readonly name = "RinggateError";
    /** `code` is one of ErrorCode, or one that a newer gateway knows; `retry`: the same may work later. */
    constructor(code: ErrorCode | (string & {}), message?: string, retry?: boolean, unknown?: boolean, 
    /** What the gateway said, with fields of its own for some codes. */
    event?: Readonly<Record<string, unknown>>);
}
/** Tell whether what failed with `code` may work later; a code that is not known here may not. */
export declare function retriable(code: string): boolean;
