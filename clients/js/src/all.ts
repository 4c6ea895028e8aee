// Everything of the package in one plain script.

export * from "./index.js";
export { msgpack } from "./msgpack.js";
export { RinggateStatus } from "./status-element.js";
