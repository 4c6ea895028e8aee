// A guest in a worker, dedicated or shared, whose script is a plain one: so is the client's.

importScripts("../../clients/js/dist/ringgate.all.js");
const served = import("./guest-port.mjs").then(({ serve }) => serve(Ringgate));
const early = (event) => served.then(() => globalThis[`on${event.type}`](event));
globalThis.onconnect = globalThis.onmessage = early; // until it has come
