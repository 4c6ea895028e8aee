import { type Subscription, type Surroundings } from "./channel.js";
import type { GatewayEvent } from "./protocol.js";
export declare class Direct {
    #private;
    constructor(around: Surroundings);
    /** Return the handle through which it is heard. */
    listen(): Subscription;
    /** The gateway said hello to this user, or to nobody in particular. */
    open(user: string | undefined): void;
    down(): void;
    event(event: GatewayEvent): void;
}
