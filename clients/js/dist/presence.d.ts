import type { GatewayEvent, Member } from "./protocol.js";
export interface PresenceListener {
    joined(member: Member): void;
    left(member: Member): void;
    /** The list differs from what was told last. */
    changed(members: ReadonlyMap<string, Member>): void;
}
export declare class Presence {
    #private;
    constructor(listener: PresenceListener);
    /** Who is there, by client id. */
    get members(): ReadonlyMap<string, Member>;
    /** A snapshot was asked for. */
    asked(): void;
    /** It came, or (with nothing) will not come. */
    answered(members?: Member[]): void;
    /** A `join` or `leave` came. */
    change(event: GatewayEvent): void;
}
