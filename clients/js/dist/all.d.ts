export * from "./index.js";
export { msgpack } from "./msgpack.js";
export { state, SharedState } from "./state.js";
export { RinggateStatus } from "./status-element.js";
