// src/msgpack.ts
var utf8 = new TextEncoder();
var text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
var SHORT = 32;
var Writer = class {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  get result() {
    return this.#bytes.slice(0, this.#length);
  }
  value(value) {
    if (value === null || value === void 0) this.#byte(192);
    else if (typeof value === "boolean") this.#byte(value ? 195 : 194);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "string") this.#string(value);
    else if (value instanceof Uint8Array) this.#sized(value, 196);
    else if (Array.isArray(value)) this.#array(value);
    else if (typeof value === "object") this.#map(value);
    else throw new TypeError(`MessagePack has no ${typeof value}`);
  }
  #number(value) {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) this.#put(203, 8, (view, at) => view.setFloat64(at, value));
    else if (value >= 0) this.#natural(value);
    else this.#negative(value);
  }
  #natural(value) {
    if (value < 128) this.#byte(value);
    else if (value <= 255) this.#put(204, 1, (view, at) => view.setUint8(at, value));
    else if (value <= 65535) this.#put(205, 2, (view, at) => view.setUint16(at, value));
    else if (value <= 4294967295) this.#put(206, 4, (view, at) => view.setUint32(at, value));
    else this.#put(207, 8, (view, at) => view.setBigUint64(at, BigInt(value)));
  }
  #negative(value) {
    if (value >= -32) this.#byte(value & 255);
    else if (value >= -128) this.#put(208, 1, (view, at) => view.setInt8(at, value));
    else if (value >= -32768) this.#put(209, 2, (view, at) => view.setInt16(at, value));
    else if (value >= -2147483648) this.#put(210, 4, (view, at) => view.setInt32(at, value));
    else this.#put(211, 8, (view, at) => view.setBigInt64(at, BigInt(value)));
  }
  #string(value) {
    if (value.length < SHORT && isAscii(value)) return this.#ascii(value);
    const bytes = utf8.encode(value);
    if (bytes.length < 32) {
      this.#byte(160 | bytes.length);
      this.#raw(bytes);
    } else this.#sized(bytes, 217);
  }
  #ascii(value) {
    this.#byte(160 | value.length);
    const at = this.#room(value.length);
    for (let i = 0; i < value.length; i++) this.#bytes[at + i] = value.charCodeAt(i);
  }
  /** Bytes behind their length, whose form follows from `first`: that with 8 bits, then 16, then 32. */
  #sized(bytes, first) {
    const { length } = bytes;
    if (length <= 255) this.#put(first, 1, (view, at) => view.setUint8(at, length));
    else if (length <= 65535) this.#put(first + 1, 2, (view, at) => view.setUint16(at, length));
    else this.#put(first + 2, 4, (view, at) => view.setUint32(at, length));
    this.#raw(bytes);
  }
  #array(values) {
    this.#count(values.length, 144, 220);
    for (const value of values) this.value(value);
  }
  #map(map) {
    const plain = "toJSON" in map && typeof map.toJSON === "function" ? map.toJSON() : map;
    if (plain !== map) return this.value(plain);
    const entries = Object.entries(map).filter(([, value]) => value !== void 0 && typeof value !== "function");
    this.#count(entries.length, 128, 222);
    for (const [key, value] of entries) {
      this.#string(key);
      this.value(value);
    }
  }
  #count(count, small, large) {
    if (count < 16) this.#byte(small | count);
    else if (count <= 65535) this.#put(large, 2, (view, at) => view.setUint16(at, count));
    else this.#put(large + 1, 4, (view, at) => view.setUint32(at, count));
  }
  #put(form, size, set) {
    this.#byte(form);
    const at = this.#room(size);
    set(this.#view, at);
  }
  #byte(value) {
    const at = this.#room(1);
    this.#bytes[at] = value;
  }
  #raw(bytes) {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }
  /** Make room for so many bytes more; return where they begin. */
  #room(size) {
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
};
var Reader = class {
  #view;
  #at = 0;
  constructor(data) {
    this.#view = new DataView(data);
  }
  get ended() {
    return this.#at === this.#view.byteLength;
  }
  value() {
    const form = this.#view.getUint8(this.#at++);
    if (form < 128) return form;
    if (form < 144) return this.#map(form & 15);
    if (form < 160) return this.#array(form & 15);
    if (form < 192) return this.#string(form & 31);
    if (form >= 224) return form - 256;
    return this.#long(form);
  }
  #long(form) {
    const view = this.#view;
    switch (form) {
      case 192:
        return null;
      case 194:
        return false;
      case 195:
        return true;
      case 196:
      case 197:
      case 198:
        return this.#bytes(this.#size(form - 196)).slice();
      case 202:
        return view.getFloat32(this.#next(4));
      case 203:
        return view.getFloat64(this.#next(8));
      case 204:
      case 205:
      case 206:
        return this.#size(form - 204);
      case 207:
        return Number(view.getBigUint64(this.#next(8)));
      case 208:
        return view.getInt8(this.#next(1));
      case 209:
        return view.getInt16(this.#next(2));
      case 210:
        return view.getInt32(this.#next(4));
      case 211:
        return Number(view.getBigInt64(this.#next(8)));
      case 217:
      case 218:
      case 219:
        return this.#string(this.#size(form - 217));
      case 220:
      case 221:
        return this.#array(this.#size(form - 219));
      case 222:
      case 223:
        return this.#map(this.#size(form - 221));
      default:
        throw new TypeError(`MessagePack of a form that the gateway does not use: ${form}`);
    }
  }
  /** An unsigned integer of 8, 16 or 32 bits. */
  #size(power) {
    const at = this.#next(1 << power);
    if (power === 0) return this.#view.getUint8(at);
    return power === 1 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }
  #next(size) {
    const at = this.#at;
    this.#at += size;
    return at;
  }
  #bytes(size) {
    return new Uint8Array(this.#view.buffer, this.#next(size), size);
  }
  #string(size) {
    const short = size < SHORT ? this.#ascii(size) : null;
    return short ?? text.decode(this.#bytes(size));
  }
  /** A string, if it is ASCII; else `null`, and nothing was read. */
  #ascii(size) {
    let string = "";
    for (let at = this.#at; at < this.#at + size; at++) {
      const code = this.#view.getUint8(at);
      if (code > 127) return null;
      string += String.fromCharCode(code);
    }
    this.#at += size;
    return string;
  }
  #array(count) {
    const values = [];
    for (let i = 0; i < count; i++) values.push(this.value());
    return values;
  }
  #map(count) {
    const map = {};
    for (let i = 0; i < count; i++) {
      const key = this.value();
      if (typeof key !== "string") throw new TypeError("a key is no string");
      const value = this.value();
      if (key !== "__proto__") map[key] = value;
      else Object.defineProperty(map, key, { value, enumerable: true, writable: true, configurable: true });
    }
    return map;
  }
};
function isAscii(value) {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 127) return false;
  return true;
}
var msgpack = {
  protocol: "ringgate.v1.msgpack",
  encode(command) {
    const writer = new Writer();
    writer.value(command);
    return writer.result;
  },
  decode(data) {
    if (typeof data === "string") throw new TypeError("text, where MessagePack was agreed on");
    const reader = new Reader(data);
    const event = reader.value();
    if (!reader.ended || typeof event !== "object" || event === null) throw new TypeError("no single event");
    return event;
  }
};
export {
  msgpack
};
