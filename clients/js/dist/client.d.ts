import { type SubscribeOptions, type Subscription } from "./channel.js";
import type { TokenSource } from "./credentials.js";
import { Emitter } from "./emitter.js";
import type { RinggateError } from "./errors.js";
import { type Settings } from "./options.js";
import type { Codec, Command, Member, Message, Position, Publication, Reply } from "./protocol.js";
import type { Status } from "./status.js";
export interface ClientOptions extends Partial<Settings> {
    /** A token, or a function (also an asynchronous one) that fetches one whenever one is needed. */
    token?: TokenSource;
    /** The encoding; JSON unless another is given. */
    codec?: Codec;
    /** The class of sockets, where there is no global one. */
    WebSocket?: unknown;
    /** Like Math.random. */
    random?: () => number;
}
export interface ClientEvents {
    status: Status;
    /** An app service subscribed this client to a channel. */
    subscription: Subscription;
    /** The gateway did not understand something; a fault of this client or of its version. */
    error: RinggateError;
}
export interface PublishOptions {
    /** Idempotency key; by default a random one. */
    key?: string;
    /** Milliseconds after which it is given up (the client's `ttl`); 0: it is sent now or not at all. */
    ttl?: number;
    signal?: AbortSignal;
}
export interface CallOptions {
    /** Milliseconds for which the answer is waited for (the client's `timeout`). */
    timeout?: number;
    /** Milliseconds for which it may wait for a connection (as `timeout`); 0: it is sent now or not at all. */
    ttl?: number;
    /** It may be carried out twice without harm: the call, or what is sent, is repeated if the connection ends. */
    repeat?: boolean;
    signal?: AbortSignal;
}
export interface HistoryOptions {
    limit?: number;
    /** Only offsets below it. */
    before?: number;
    signal?: AbortSignal;
}
export interface History extends Omit<Position, "id" | "mark"> {
    publications: Publication[];
    /** Nothing older is kept. */
    complete: boolean;
}
export declare class Client extends Emitter<ClientEvents> {
    #private;
    /** What was set, and else what holds by itself. */
    readonly settings: Readonly<Settings>;
    /** `url` is the gateway's `/ws`, also relative to the page; a function is asked at each attempt. */
    constructor(url: string | (() => string), options?: ClientOptions);
    /** What to show of the connection; `on("status", …)` tells of every change. */
    get status(): Status;
    /** What app services send to this user, or to this one client. */
    get direct(): Subscription;
    /** How many commands wait, for a connection or for their answers. */
    get queued(): number;
    /** Connect, and stay connected; where an attempt is waited for, make it now. */
    connect(): this;
    /** Disconnect, and break off whatever waits.  `connect` takes the subscriptions up again. */
    close(): void;
    /** It may be worth trying now: for surroundings that do not tell it by `online` or `visibilitychange`. */
    wake(): void;
    /** Hear a channel; any number of handles share one subscription. */
    subscribe(channel: string, listener?: ((message: Message) => void) | null, options?: SubscribeOptions): Subscription;
    /**
     * Publish, now or as soon as there is a connection.  The publication happens once, however often the connection
     * breaks, or the promise is broken; then `unknown` says whether it may have happened.
     */
    publish(channel: string, data: unknown, options?: PublishOptions): Promise<Omit<Position, "id" | "mark"> & {
        duplicate?: boolean;
    }>;
    /** Call a method of the app service; the promise is kept by what it answers. */
    call<Answer = unknown>(method: string, payload?: unknown, options?: CallOptions): Promise<Answer>;
    /** Say something to the app service; kept once what it wanted is done, by what it answers, if anything. */
    send<Answer = unknown>(data: unknown, options?: CallOptions): Promise<Answer>;
    /** Ask who is subscribed to a channel now; for a live list see `subscribe` with `presence`. */
    presence(channel: string, signal?: AbortSignal): Promise<Member[]>;
    /** Read what a channel keeps, oldest first. */
    history(channel: string, { signal, ...which }?: HistoryOptions): Promise<History>;
    /** For modules beside this one: a command of any type, repeated after a break if that does no harm. */
    request(command: Command, repeat?: boolean, ttl?: number, signal?: AbortSignal): Promise<Reply>;
}
