// What a promise of this client is rejected with.
//
// The gateway's codes and the client's own (LOCAL_CODES) share one class.  What always holds: `unknown` is true
// exactly if the gateway may have carried the command out although nobody heard of it.

import { ERROR_CODES, type ServerCode } from "./codes.js";

/** Codes that no gateway sends: code, and whether the same thing may work later. */
export const LOCAL_CODES = {
  aborted: false, // by the AbortSignal that the application gave
  closed: false, // the application closed the client
  disconnected: true, // the connection ended before the answer came
  expired: true, // it waited longer than its time to live
  queue_full: true, // as many commands wait already as may
} as const;

export type LocalCode = keyof typeof LOCAL_CODES;
export type ErrorCode = ServerCode | LocalCode;

export class RinggateError extends Error {
  override readonly name = "RinggateError";

  /** `code` is one of ErrorCode, or one that a newer gateway knows; `retry`: the same may work later. */
  constructor(
    readonly code: ErrorCode | (string & {}),
    message: string = code,
    readonly retry: boolean = retriable(code),
    readonly unknown = false,
    /** What the gateway said, with fields of its own for some codes. */
    readonly event: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}

/** Tell whether what failed with `code` may work later; a code that is not known here may not. */
export function retriable(code: string): boolean {
  return { ...ERROR_CODES, ...LOCAL_CODES }[code as ErrorCode] ?? false;
}
