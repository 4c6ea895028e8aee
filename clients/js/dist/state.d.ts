import type { SubscribeOptions } from "./channel.js";
import type { Client } from "./client.js";
import { Emitter } from "./emitter.js";
import { RinggateError } from "./index.js";
import { type Json } from "./merge-patch.js";
import type { Sender } from "./protocol.js";
export type { Json } from "./merge-patch.js";
/** A change: a merge patch, or a function that makes one of the value it will be applied to. */
export type Change = Json | ((value: Json) => Json);
/** Somebody else changed what is being changed here.  Unless it is given up, the own change wins. */
export interface Conflict {
    /** The places that both touch, as lists of names from the outside in. */
    paths: string[][];
    /** The patch of one's own that is not confirmed yet. */
    mine: Json;
    /** What the other one changed, as a merge patch. */
    theirs: Json;
    from?: Sender;
    /** Give the own patch up: its promise is broken with `aborted`, unless it happened already. */
    drop(): void;
}
export interface StateEvents {
    /** The value to show; at once after an own change, and when somebody else's came. */
    change: Json;
    conflict: Conflict;
    /** The subscription is over: refused, or ended by an app service. */
    ended: RinggateError;
}
/** Open the shared state of a channel; its namespace has `state = true`. */
export declare function state(client: Client, channel: string, options?: Pick<SubscribeOptions, "token">): SharedState;
export declare class SharedState extends Emitter<StateEvents> {
    #private;
    constructor(client: Client, channel: string, options: Pick<SubscribeOptions, "token">);
    get channel(): string;
    /** The value to show; `null` before the first `state` came. */
    get value(): Json;
    /** What the gateway confirmed, and as which version; -1 before the first `state` came. */
    get confirmed(): {
        value: Json;
        version: number;
    };
    /** How many changes are not confirmed yet. */
    get pending(): number;
    /**
     * Change the value, here at once and at the gateway as soon as may be.  The promise is kept with the version that
     * the change made, or broken with a RinggateError; the change is taken back then.
     */
    update(change: Change): Promise<number>;
    /** Hear nothing more; changes that are not confirmed are broken off. */
    close(): void;
}
