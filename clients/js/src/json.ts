// The JSON encoding: text messages, and bytes as base64 in `data64`.

import type { Codec, Command, GatewayEvent } from "./protocol.js";

const CHUNK = 0x8000; // as many arguments as every engine takes

export const json = {
  protocol: "ringgate.v1.json",
  encode(command: Command): string {
    const { data, ...rest } = command;
    return JSON.stringify(data instanceof Uint8Array ? { ...rest, data64: toBase64(data) } : command);
  },
  decode(text: string | ArrayBuffer): GatewayEvent {
    const event = JSON.parse(text as string) as GatewayEvent;
    withBytes(event);
    (event["publications"] as GatewayEvent[] | undefined)?.forEach(withBytes);
    return event;
  },
} satisfies Codec;

function withBytes(event: GatewayEvent): void {
  const { data64 } = event;
  if (data64 === undefined) return;
  delete event["data64"];
  event["data"] = Uint8Array.from(atob(data64 as string), (character) => character.charCodeAt(0));
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += CHUNK) text += String.fromCharCode(...bytes.subarray(i, i + CHUNK));
  return btoa(text);
}
