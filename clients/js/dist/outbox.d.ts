import type { Command, Reply } from "./protocol.js";
import type { Requests } from "./requests.js";
/** As long as the gateway surely knows an idempotency key (5 minutes by default), less a margin. */
export declare const REPEAT_MS = 240000;
export interface Terms {
    /** Milliseconds after which it is given up; 0: it is sent now or never. */
    ttl: number;
    /** It may be carried out twice without harm: it has a key, or only reads. */
    repeat: boolean;
    /** Milliseconds for which an answer is waited for, once it was sent. */
    timeout?: number | undefined;
    signal?: AbortSignal | undefined;
}
export declare class Outbox {
    #private;
    constructor(requests: Requests, limit: number, random: () => number);
    /** How many commands are in it, those that wait for their answers included. */
    get size(): number;
    /** Put a command in; the promise is kept by its reply, or broken with a RinggateError. */
    add(command: Command, terms: Terms): Promise<Reply>;
    /** There is a connection: send what waits, in order. */
    open(): void;
    /** The connection ended (after `Requests.drop`). `tooBig`: because of a message that was too big for the gateway. */
    shut(tooBig: boolean): void;
    /** The client is closed: break off everything. */
    clear(): void;
}
