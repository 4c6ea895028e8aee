import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { json } from "../src/json.js";
import { msgpack } from "../src/msgpack.js";
import type { Command } from "../src/protocol.js";

const PROTOCOL = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8");

/** The examples of docs/protocol.md, which a test of the gateway holds to the gateway. */
const EXAMPLES = [...PROTOCOL.matchAll(/^(command|event) json +(.+)\n\1 msgpack +(.+)$/gm)].map(
  ([, kind, text, hex]) => ({ kind: kind!, text: text!, bytes: Uint8Array.from((hex as string).split(" "), (pair) => parseInt(pair as string, 16)) }),
);

const ascii = (text: string) => Array.from(text, (character) => character.charCodeAt(0));

function roundTrip(value: unknown): unknown {
  return msgpack.decode(msgpack.encode({ type: "x", data: value }).buffer)["data"];
}

describe("the examples of the protocol", () => {
  const commands = EXAMPLES.filter(({ kind, text }) => kind === "command" && text.startsWith("{"));
  const events = EXAMPLES.filter(({ kind }) => kind === "event");

  it("are there", () => {
    expect(commands.length).toBeGreaterThan(2);
    expect(events.length).toBeGreaterThan(2);
  });

  it.each(commands)("$text", ({ text, bytes }) => {
    const command = json.decode(text) as Command; // with bytes for data64
    expect(msgpack.encode(command)).toEqual(bytes);
  });

  it.each(events)("$text", ({ text, bytes }) => {
    expect(msgpack.decode(bytes.buffer)).toEqual(json.decode(text));
  });
});

describe("values", () => {
  const edges = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
  const long = (size: number) => Array.from({ length: size }, (_, i) => i);
  it.each([
    null,
    true,
    false,
    ...edges,
    ...edges.map((n) => -n - 1),
    -0,
    0.5,
    1e300,
    -1.5e-10,
    "",
    ...[31, 32, 255, 256, 65_535, 65_536].map((size) => "x".repeat(size)),
    "ünïcode €uro 🦀 \uFEFF",
    [],
    [1, [2, [3]]],
    {},
    { a: { b: [null, { c: "d" }] } },
    Object.fromEntries(long(15).map((n) => [`k${n}`, n])),
    Object.fromEntries(long(16).map((n) => [`k${n}`, n])),
    new Uint8Array(0),
    new Uint8Array(256).fill(7),
    new Uint8Array(65_536),
  ])("come back: %#", (value) => {
    expect(roundTrip(value)).toEqual(value);
  });

  it("of great length come back", () => {
    for (const size of [15, 16, 65_535, 65_536]) expect(roundTrip(long(size))).toEqual(long(size));
    const map = Object.fromEntries(long(65_536).map((n) => [`k${n}`, n]));
    expect(roundTrip(map)).toEqual(map);
  });

  it("that JSON leaves out are left out, and dates are what they are in JSON", () => {
    expect(roundTrip({ a: undefined, b: () => 1, c: [undefined] })).toEqual({ c: [null] });
    expect(roundTrip(new Date(0))).toBe("1970-01-01T00:00:00.000Z");
    expect(() => msgpack.encode({ type: "x", data: 1n })).toThrow(TypeError);
  });
});

describe("hostile bytes", () => {
  const decode = (...bytes: number[]) => msgpack.decode(Uint8Array.from(bytes).buffer);

  it("do not change what an object is", () => {
    // {"type": "x", "__proto__": {"hit": 1}}
    const event = decode(0x82, 0xa4, 0x74, 0x79, 0x70, 0x65, 0xa1, 0x78, 0xa9, ...ascii("__proto__"), 0x81, 0xa3, ...ascii("hit"), 1);
    expect((event as { hit?: number }).hit).toBeUndefined();
    expect(Object.keys(event)).toEqual(["type", "__proto__"]);
  });

  it("are refused when they are cut short, at every place", () => {
    for (const { bytes } of EXAMPLES) {
      for (let end = 0; end < bytes.length; end++) expect(() => msgpack.decode(bytes.slice(0, end).buffer)).toThrow();
    }
  });

  it.each([
    ["text", () => msgpack.decode("{}")],
    ["something behind the event", () => decode(0x80, 0xc0)],
    ["no map", () => decode(0x01)],
    ["an extension", () => decode(0x81, 0xa1, 0x61, 0xd4, 0x01, 0x00)],
    ["the byte that is never used", () => decode(0xc1)],
    ["a key that is a number", () => decode(0x81, 0x01, 0x01)],
    ["what is no UTF-8", () => decode(0x81, 0xa1, 0xff, 0x01)],
    ["an array said to be endless", () => decode(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ["a string said to be endless", () => decode(0xdb, 0xff, 0xff, 0xff, 0xff)],
  ])("are refused: %s", (_, attempt) => {
    expect(attempt).toThrow();
  });
});
