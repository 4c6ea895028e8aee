import { type TokenSource } from "./credentials.js";
import type { Settings } from "./options.js";
import type { Codec, GatewayEvent } from "./protocol.js";
import { Requests } from "./requests.js";
import { type Status } from "./status.js";
/** What is needed of a WebSocket: browsers', Node's own, and that of the package `ws` have it. */
export interface Socket {
    binaryType: string;
    onopen: ((event: never) => void) | null;
    onmessage: ((event: never) => void) | null;
    onclose: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    send(data: string | Uint8Array<ArrayBuffer>): void;
    close(code?: number, reason?: string): void;
}
export type SocketClass = new (url: string, protocols: string[]) => Socket;
export interface ConnectionOptions {
    url: string | (() => string);
    token: TokenSource | undefined;
    codec: Codec;
    WebSocket: SocketClass;
    settings: Settings;
    random: () => number;
}
/** Who is told of what happens. */
export interface Listener {
    /** The gateway said hello; commands can be sent. */
    greet(hello: GatewayEvent): void;
    /** The connection, which had said hello, ended with this close code. */
    down(code: number): void;
    event(event: GatewayEvent): void;
    status(status: Status): void;
}
export declare class Connection {
    #private;
    readonly requests: Requests;
    constructor(options: ConnectionOptions, listener: Listener);
    get status(): Status;
    get online(): boolean;
    connect(): void;
    close(): void;
    /** It may be worth trying now: connect at once, or see whether the connection is still alive. */
    wake(): void;
}
