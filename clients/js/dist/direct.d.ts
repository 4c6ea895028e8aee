import { type Subscription, type Surroundings } from "./channel.js";
import type { GatewayEvent } from "./protocol.js";
export declare class Direct {
    #private;
    readonly handle: Subscription;
    constructor(around: Surroundings);
    event(event: GatewayEvent): void;
}
