// The MessagePack encoding, as a module of its own: `new Client(url, { codec: msgpack })`.
//
// A small codec of the part of MessagePack that the gateway speaks: nil, booleans, numbers, strings, bytes, arrays
// and maps with strings as keys; no extensions (https://github.com/msgpack/msgpack/blob/master/spec.md).  What
// always holds: what JSON.stringify leaves out is left out, and whatever is cut short or goes on behind its end
// is refused with a RangeError or TypeError.

import type { Codec, Command, GatewayEvent } from "./protocol.js";

const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Strings below this length are mostly ASCII names: to go over them is several times faster than TextEncoder. */
const SHORT = 32;

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get result(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  value(value: unknown): void {
    if (value === null || value === undefined) this.#byte(0xc0);
    else if (typeof value === "boolean") this.#byte(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "string") this.#string(value);
    else if (value instanceof Uint8Array) this.#sized(value, 0xc4);
    else if (Array.isArray(value)) this.#array(value);
    else if (typeof value === "object") this.#map(value);
    else throw new TypeError(`MessagePack has no ${typeof value}`);
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) this.#put(0xcb, 8, (view, at) => view.setFloat64(at, value));
    else if (value >= 0) this.#natural(value);
    else this.#negative(value);
  }

  #natural(value: number): void {
    if (value < 0x80) this.#byte(value);
    else if (value <= 0xff) this.#put(0xcc, 1, (view, at) => view.setUint8(at, value));
    else if (value <= 0xffff) this.#put(0xcd, 2, (view, at) => view.setUint16(at, value));
    else if (value <= 0xffffffff) this.#put(0xce, 4, (view, at) => view.setUint32(at, value));
    else this.#put(0xcf, 8, (view, at) => view.setBigUint64(at, BigInt(value)));
  }

  #negative(value: number): void {
    if (value >= -0x20) this.#byte(value & 0xff);
    else if (value >= -0x80) this.#put(0xd0, 1, (view, at) => view.setInt8(at, value));
    else if (value >= -0x8000) this.#put(0xd1, 2, (view, at) => view.setInt16(at, value));
    else if (value >= -0x80000000) this.#put(0xd2, 4, (view, at) => view.setInt32(at, value));
    else this.#put(0xd3, 8, (view, at) => view.setBigInt64(at, BigInt(value)));
  }

  #string(value: string): void {
    if (value.length < SHORT && isAscii(value)) return this.#ascii(value);
    const bytes = utf8.encode(value);
    if (bytes.length < 32) {
      this.#byte(0xa0 | bytes.length);
      this.#raw(bytes);
    } else this.#sized(bytes, 0xd9);
  }

  #ascii(value: string): void {
    this.#byte(0xa0 | value.length);
    const at = this.#room(value.length);
    for (let i = 0; i < value.length; i++) this.#bytes[at + i] = value.charCodeAt(i);
  }

  /** Bytes behind their length, whose form follows from `first`: that with 8 bits, then 16, then 32. */
  #sized(bytes: Uint8Array, first: number): void {
    const { length } = bytes;
    if (length <= 0xff) this.#put(first, 1, (view, at) => view.setUint8(at, length));
    else if (length <= 0xffff) this.#put(first + 1, 2, (view, at) => view.setUint16(at, length));
    else this.#put(first + 2, 4, (view, at) => view.setUint32(at, length));
    this.#raw(bytes);
  }

  #array(values: unknown[]): void {
    this.#count(values.length, 0x90, 0xdc);
    for (const value of values) this.value(value);
  }

  #map(map: object): void {
    const plain: unknown = "toJSON" in map && typeof map.toJSON === "function" ? map.toJSON() : map;
    if (plain !== map) return this.value(plain);
    const entries = Object.entries(map).filter(([, value]) => value !== undefined && typeof value !== "function");
    this.#count(entries.length, 0x80, 0xde);
    for (const [key, value] of entries) {
      this.#string(key);
      this.value(value);
    }
  }

  #count(count: number, small: number, large: number): void {
    if (count < 16) this.#byte(small | count);
    else if (count <= 0xffff) this.#put(large, 2, (view, at) => view.setUint16(at, count));
    else this.#put(large + 1, 4, (view, at) => view.setUint32(at, count));
  }

  #put(form: number, size: number, set: (view: DataView, at: number) => void): void {
    this.#byte(form);
    const at = this.#room(size); // may make another view
    set(this.#view, at);
  }

  #byte(value: number): void {
    const at = this.#room(1);
    this.#bytes[at] = value;
  }

  #raw(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Make room for so many bytes more; return where they begin. */
  #room(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

class Reader {
  readonly #view: DataView;
  #at = 0;

  constructor(data: ArrayBuffer) {
    this.#view = new DataView(data);
  }

  get ended(): boolean {
    return this.#at === this.#view.byteLength;
  }

  value(): unknown {
    const form = this.#view.getUint8(this.#at++);
    if (form < 0x80) return form;
    if (form < 0x90) return this.#map(form & 0x0f);
    if (form < 0xa0) return this.#array(form & 0x0f);
    if (form < 0xc0) return this.#string(form & 0x1f);
    if (form >= 0xe0) return form - 0x100;
    return this.#long(form);
  }

  #long(form: number): unknown {
    const view = this.#view;
    switch (form) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#bytes(this.#size(form - 0xc4)).slice();
      case 0xca:
        return view.getFloat32(this.#next(4));
      case 0xcb:
        return view.getFloat64(this.#next(8));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#size(form - 0xcc);
      case 0xcf:
        return Number(view.getBigUint64(this.#next(8)));
      case 0xd0:
        return view.getInt8(this.#next(1));
      case 0xd1:
        return view.getInt16(this.#next(2));
      case 0xd2:
        return view.getInt32(this.#next(4));
      case 0xd3:
        return Number(view.getBigInt64(this.#next(8)));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#string(this.#size(form - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#size(form - 0xdb));
      case 0xde:
      case 0xdf:
        return this.#map(this.#size(form - 0xdd));
      default:
        throw new TypeError(`MessagePack of a form that the gateway does not use: ${form}`);
    }
  }

  /** An unsigned integer of 8, 16 or 32 bits. */
  #size(power: number): number {
    const at = this.#next(1 << power);
    if (power === 0) return this.#view.getUint8(at);
    return power === 1 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #next(size: number): number {
    const at = this.#at;
    this.#at += size;
    return at;
  }

  #bytes(size: number): Uint8Array {
    return new Uint8Array(this.#view.buffer, this.#next(size), size);
  }

  #string(size: number): string {
    const short = size < SHORT ? this.#ascii(size) : null;
    return short ?? text.decode(this.#bytes(size));
  }

  /** A string, if it is ASCII; else `null`, and nothing was read. */
  #ascii(size: number): string | null {
    let string = "";
    for (let at = this.#at; at < this.#at + size; at++) {
      const code = this.#view.getUint8(at);
      if (code > 0x7f) return null;
      string += String.fromCharCode(code);
    }
    this.#at += size;
    return string;
  }

  #array(count: number): unknown[] {
    const values: unknown[] = [];
    for (let i = 0; i < count; i++) values.push(this.value());
    return values;
  }

  #map(count: number): object {
    const map: Record<string, unknown> = {};
    for (let i = 0; i < count; i++) {
      const key = this.value();
      if (typeof key !== "string") throw new TypeError("a key is no string");
      const value = this.value();
      if (key !== "__proto__") map[key] = value;
      // An assignment would change what the object is.
      else Object.defineProperty(map, key, { value, enumerable: true, writable: true, configurable: true });
    }
    return map;
  }
}

function isAscii(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return false;
  return true;
}

export const msgpack = {
  protocol: "ringgate.v1.msgpack",
  encode(command: Command): Uint8Array<ArrayBuffer> {
    const writer = new Writer();
    writer.value(command);
    return writer.result;
  },
  decode(data: string | ArrayBuffer): GatewayEvent {
    if (typeof data === "string") throw new TypeError("text, where MessagePack was agreed on");
    const reader = new Reader(data);
    const event = reader.value();
    if (!reader.ended || typeof event !== "object" || event === null) throw new TypeError("no single event");
    return event as GatewayEvent;
  },
} satisfies Codec;
