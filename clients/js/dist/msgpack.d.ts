import type { Command, GatewayEvent } from "./protocol.js";
export declare const msgpack: {
    protocol: string;
    encode(command: Command): Uint8Array<ArrayBuffer>;
    decode(data: string | ArrayBuffer): GatewayEvent;
};
