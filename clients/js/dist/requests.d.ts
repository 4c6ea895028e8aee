import { RinggateError } from "./errors.js";
import type { Codec, Command, GatewayEvent, Reply } from "./protocol.js";
export type Encoded = ReturnType<Codec["encode"]>;
/** What becomes of a command. */
export interface Answer {
    reply(reply: Reply): void;
    fail(error: RinggateError): void;
}
/** For commands whose answer changes nothing. */
export declare const IGNORED: Answer;
export declare class Requests {
    #private;
    constructor(codec: Codec, post: (message: Encoded) => void);
    /** Number and encode a command; the id stays its own on every connection.  Throws what the encoder throws. */
    encode(command: Command): {
        id: number;
        message: Encoded;
    };
    /** Send what `encode` gave. */
    start(id: number, message: Encoded, answer: Answer): void;
    /** Encode and send; only while there is a connection. */
    send(command: Command, answer: Answer): void;
    /** Hand on a `reply` or an `error`; nobody may be waiting for it any more. */
    settle(event: GatewayEvent): void;
    /** Nobody waits for the answer to this command any more. */
    forget(id: number): void;
    /** The connection ended: break off whatever waits. */
    drop(): void;
}
/** Return an `error` event as an exception.  After `timeout` and `internal` the command may have been carried out. */
export declare function errorOf(event: GatewayEvent): RinggateError;
