// The guest of a worker, as the page that made it sees it: a message in, an answer out.

import { make } from "./guest.mjs";

/** `package_` is the client, however it was loaded; the settings are the worker's name. */
export function serve(package_) {
  const { msgpack, ...settings } = JSON.parse(globalThis.name);
  const guest = make({ ...package_, codec: msgpack ? package_.msgpack : undefined, ...settings });
  const answer = ({ data: { op, text }, target }) => target.postMessage((guest[op]?.(text), guest.report()));
  globalThis.onmessage = answer;
  globalThis.onconnect = ({ ports: [port] }) => (port.onmessage = answer);
}
