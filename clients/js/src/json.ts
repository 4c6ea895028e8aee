// The JSON encoding: text messages, and bytes as base64 in `data64` and `payload64`.

import type { Codec, Command, GatewayEvent } from "./protocol.js";

const CHUNK = 0x8000; // as many arguments as every engine takes

export const json = {
  protocol: "ringgate.v1.json",
  encode(command: Command): string {
    const fields = Object.entries(command).map(([name, value]) =>
      value instanceof Uint8Array ? [`${name}64`, toBase64(value)] : [name, value],
    );
    return JSON.stringify(Object.fromEntries(fields));
  },
  decode(text: string | ArrayBuffer): GatewayEvent {
    const event = JSON.parse(text as string) as GatewayEvent;
    withBytes(event);
    (event["publications"] as GatewayEvent[] | undefined)?.forEach(withBytes);
    return event;
  },
} satisfies Codec;

function withBytes(event: GatewayEvent): void {
  for (const name of ["data", "payload"]) {
    const text = event[`${name}64`] as string | undefined;
    if (text === undefined) continue;
    delete event[`${name}64`];
    event[name] = fromBase64(text);
  }
}

function fromBase64(text: string): Uint8Array {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i); // much faster than Uint8Array.from
  return bytes;
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += CHUNK) text += String.fromCharCode(...bytes.subarray(i, i + CHUNK));
  return btoa(text);
}
