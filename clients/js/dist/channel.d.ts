import { Emitter } from "./emitter.js";
import { RinggateError } from "./errors.js";
import { Presence } from "./presence.js";
import type { GatewayEvent, Member, Message, Position } from "./protocol.js";
import { type Requests } from "./requests.js";
export interface SubscriptionEvents {
    message: Message;
    /** The gateway's answer; `resumed`: everything that was missed follows. */
    subscribed: {
        resumed: boolean;
    };
    /** Messages are missing: they were not kept (`resume`), or dropped (`slow`, `lost`), from one offset to another. */
    lost: {
        reason: string;
        from?: number;
        to?: number;
    };
    join: Member;
    leave: Member;
    /** The member list, each time it has changed (with `presence: true`). */
    members: ReadonlyMap<string, Member>;
    /** The subscription is over, and not because of `close`. */
    ended: RinggateError;
    /** Every other event of the channel. */
    event: GatewayEvent;
}
export interface SubscribeOptions {
    /** Keep a member list. */
    presence?: boolean;
    /** Begin behind this position, and not with what comes from now on. */
    since?: Position;
    /** A token for this channel, or a function that gets one, for namespaces that ask for it. */
    token?: string | (() => string | Promise<string>);
    /** It is a state channel, read by `ringgate/state`: it begins with a `state` and goes on with every `patch`. */
    state?: boolean;
    /** After a break go on with what is new (false), and not with what was missed (true, the default). */
    resume?: boolean;
}
/** Where a subscription stands, as the gateway says it. */
export interface Stand extends Omit<Position, "id"> {
    recovered?: boolean;
}
/** A listener's hold on a channel. */
export declare class Subscription extends Emitter<SubscriptionEvents> {
    #private;
    constructor(channel: Channel);
    get channel(): string;
    /** The gateway has confirmed it on the present connection. */
    get active(): boolean;
    /** Up to where messages were delivered; keep it to go on there after the page was loaded anew. */
    get position(): Position | null;
    /** Who is subscribed, by client id; empty without `presence: true`. */
    get members(): ReadonlyMap<string, Member>;
    /** Hear nothing more.  The last handle of a channel ends the subscription at the gateway. */
    close(): void;
}
/** What a channel needs of its surroundings. */
export interface Surroundings {
    requests: Requests;
    online(): boolean;
    /** The ids of this client on earlier connections: what is not for one of them is not for this one. */
    earlier(): string[];
    random: () => number;
    /** Nobody holds the channel any more, or it ended. */
    gone(channel: Channel): void;
}
export declare class Channel {
    #private;
    name: string;
    readonly around: Surroundings;
    readonly handles: Set<Subscription>;
    readonly presence: Presence;
    position: Position | null;
    live: boolean;
    /** An app service made it: it can be taken up again only with the session. */
    byService: boolean;
    constructor(name: string, around: Surroundings);
    /** Return a new handle; the first one decides where to begin. */
    join({ presence, since, token, resume, state }: SubscribeOptions): Subscription;
    leave(handle: Subscription): void;
    /** Where to resume; null: from now on. */
    get since(): Position | null;
    /** Return a position as it is named to the gateway. */
    sinceWith(position: Position): Position & {
        clients?: string[];
    };
    /** Ask the gateway for it. */
    subscribe(): void;
    /** It stands at the gateway: by a `reply`, `subscribed`, or with the session. */
    confirmed(answer: Stand, since: Position | null): void;
    /** The connection ended. */
    down(): void;
    event(event: GatewayEvent): void;
}
