// What encodings cost in JavaScript: node encodings.mjs < cases.json; run by `python -m bench.encodings`.
//
// In: {"seconds", "proto", "cases": [{"name", "channel", "data" | "data64", "events": {encoding: base64}}]}.  Out: for
// each case and encoding the microseconds to encode a `publish`, and to read a `message` up to the value that the
// application gets.  What is read is compared first.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import { json } from "../clients/js/dist/index.js";
import { msgpack } from "../clients/js/dist/msgpack.js";

const protobufjs = createRequire(new URL("../clients/js/package.json", import.meta.url))("protobufjs");
const { seconds, proto, cases } = JSON.parse(readFileSync(0, "utf8"));

const root = protobufjs.parse(readFileSync(proto, "utf8"), { keepCase: true }).root;
const [Commands, Event] = ["Commands", "Event"].map((name) => root.lookupType(`ringgate.v1.${name}`));
const text = { encoder: new TextEncoder(), decoder: new TextDecoder() };

/** As a client for Protobuf would do it, with the best-known package; payloads that are JSON are JSON inside. */
const protobuf = {
  encode({ id, channel, data }) {
    const payload = data instanceof Uint8Array ? { binary: data } : { json: text.encoder.encode(JSON.stringify(data)) };
    return Commands.encode({ commands: [{ id, publish: { channel, ...payload } }] }).finish();
  },
  decode(message) {
    const { message: { channel, offset, id, json: written, binary, from, time } } = Event.decode(new Uint8Array(message));
    const data = written?.length ? JSON.parse(text.decoder.decode(written)) : binary;
    return { type: "message", channel, offset: Number(offset), id, data, from, time: Number(time) };
  },
};

const CODECS = { json, msgpack, protobuf };
let kept; // so that nothing is optimized away
const ROUNDS = 60;

/** Return the microseconds of one call: the least of many short rounds, most of which nobody interrupts. */
function measure(call) {
  let count = 1;
  const round = () => {
    const began = performance.now();
    for (let i = 0; i < count; i++) kept = call();
    return performance.now() - began;
  };
  while (round() < (seconds * 1000) / ROUNDS) count *= 2;
  return (Math.min(...Array.from({ length: ROUNDS }, round)) / count) * 1000;
}

const outcome = cases.map(({ name, channel, data, data64, events }) => {
  const payload = data64 === undefined ? data : new Uint8Array(Buffer.from(data64, "base64"));
  const command = { type: "publish", id: 17, channel, data: payload, key: undefined };
  delete command.key;
  const costs = Object.entries(CODECS).map(([encoding, codec]) => {
    const bytes = Buffer.from(events[encoding], "base64");
    const message = encoding === "json" ? bytes.toString() : new Uint8Array(bytes).buffer;
    const read = codec.decode(message).data;
    if (!isDeepStrictEqual(read instanceof Uint8Array ? Buffer.from(read) : read, data64 === undefined ? data : Buffer.from(payload)))
      throw new Error(`${encoding} read something else: ${name}`);
    return [encoding, { encode: measure(() => codec.encode(command)), decode: measure(() => codec.decode(message)) }];
  });
  return { name, costs: Object.fromEntries(costs) };
});
process.stdout.write(JSON.stringify({ node: process.version, outcome, kept: typeof kept }));
