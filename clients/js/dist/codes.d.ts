/** Codes of `error` events: code, and whether the same command may work later. */
export declare const ERROR_CODES: {
    readonly bad_request: false;
    readonly unauthorized: false;
    readonly permission_denied: false;
    readonly unknown_channel: false;
    readonly already_subscribed: false;
    readonly not_subscribed: false;
    readonly limit_exceeded: false;
    readonly rate_limited: true;
    readonly stale_version: false;
    readonly timeout: true;
    readonly unavailable: true;
    readonly internal: true;
};
export type ServerCode = keyof typeof ERROR_CODES;
/** Codes in close frames, and their names. */
export declare const CLOSE_CODES: {
    readonly 1000: "normal";
    readonly 1001: "going_away";
    readonly 1002: "protocol_error";
    readonly 1003: "unsupported_data";
    readonly 1007: "invalid_payload";
    readonly 1008: "policy_violation";
    readonly 1009: "message_too_big";
    readonly 1011: "internal_error";
    readonly 1012: "service_restart";
    readonly 4000: "misuse";
    readonly 4001: "unauthorized";
    readonly 4002: "forbidden";
    readonly 4003: "no_credentials";
    readonly 4004: "disconnected";
    readonly 4100: "over_capacity";
    readonly 4101: "server_error";
    readonly 4102: "rate_limited";
    readonly 4200: "slow_consumer";
    readonly 4201: "no_pong";
    readonly 4202: "drain";
    readonly 4203: "state_lost";
};
