import type { Command, GatewayEvent } from "./protocol.js";
export declare const json: {
    protocol: string;
    encode(command: Command): string;
    decode(text: string | ArrayBuffer): GatewayEvent;
};
