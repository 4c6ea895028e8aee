export interface HeartbeatOptions {
    ping(): void;
    /** Nothing was heard in time. */
    silent(): void;
    /** Milliseconds within which a `probe` has to be answered. */
    probeMs: number;
}
export declare class Heartbeat {
    #private;
    constructor(options: HeartbeatOptions);
    /** Begin with a connection; `everyMs` is the period that the gateway asked for. */
    start(everyMs: number): void;
    stop(): void;
    /** Something came from the gateway. */
    heard(): void;
    /** Find out within `probeMs` whether the gateway is there. */
    probe(): void;
}
