// Drives Node's `ws` for the tests: one JSON object a line in, one a line out.
//
//   {"op": "connect", "url", "protocols", "deflate", "ca"} -> {"protocol", "extensions"}
//   {"op": "send", "text" | "base64", "fragments"}      -> {}
//   {"op": "receive"}                                   -> {"text" | "base64"}, or {"closed": true}
//   {"op": "ping", "base64"}                            -> {} once a pong with the same bytes came
//   {"op": "close", "code", "reason"}                   -> {}
//   {"op": "closed"}                                    -> {"code", "reason"} once the connection is over
//
// Answers come in the order of the commands.  A command that failed is answered {"error": text}.
// The process ends when its standard input does.

import { readFileSync } from "node:fs";
import WebSocket from "ws";

class Driver {
  constructor() {
    this.socket = null;
    this.received = [];
    this.waiting = null;
    this.closing = null;
    this.extensions = "";
  }

  connect({ url, protocols, deflate, ca }) {
    const options = { perMessageDeflate: deflate, maxPayload: 64 * 1024 * 1024 };
    if (ca) options.ca = readFileSync(ca);
    const socket = new WebSocket(url, protocols, options);
    this.socket = socket;
    this.closing = new Promise((resolve) => {
      socket.on("close", (code, reason) => {
        resolve({ code, reason: reason.toString() });
        this.wake({ closed: true });
      });
    });
    socket.on("upgrade", (response) => {
      this.extensions = response.headers["sec-websocket-extensions"] ?? "";
    });
    socket.on("message", (data, isBinary) => {
      this.wake(isBinary ? { base64: data.toString("base64") } : { text: data.toString() });
    });
    return new Promise((resolve, reject) => {
      socket.on("open", () => resolve({ protocol: socket.protocol, extensions: this.extensions }));
      socket.on("error", reject);
    });
  }

  wake(event) {
    if (this.waiting) {
      this.waiting(event);
      this.waiting = null;
    } else {
      this.received.push(event);
    }
  }

  async send({ text, base64, fragments = 1 }) {
    const data = text === undefined ? Buffer.from(base64, "base64") : Buffer.from(text);
    const size = Math.ceil(data.length / fragments);
    for (let i = 0; i < fragments; i++) {
      const options = { binary: text === undefined, fin: i === fragments - 1 };
      const piece = data.subarray(i * size, (i + 1) * size);
      await new Promise((resolve, reject) => {
        this.socket.send(piece, options, (error) => (error ? reject(error) : resolve()));
      });
    }
    return {};
  }

  receive() {
    if (this.received.length) return this.received.shift();
    return new Promise((resolve) => (this.waiting = resolve));
  }

  ping({ base64 }) {
    const data = Buffer.from(base64, "base64");
    return new Promise((resolve, reject) => {
      this.socket.once("pong", (answer) => {
        if (answer.equals(data)) resolve({});
        else reject(new Error(`the pong holds ${answer.toString("hex")}`));
      });
      this.socket.ping(data);
    });
  }

  close({ code, reason }) {
    if (code) this.socket.close(code, reason);
    else this.socket.close();
    return {};
  }

  closed() {
    return this.closing;
  }
}

const driver = new Driver();
let pending = [];
let turn = Promise.resolve();

async function carryOut(line) {
  let answer;
  try {
    const command = JSON.parse(line);
    answer = await driver[command.op](command);
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}

process.stdin.on("data", (chunk) => {
  let end;
  while ((end = chunk.indexOf(10)) >= 0) {
    pending.push(chunk.subarray(0, end));
    const line = Buffer.concat(pending).toString();
    pending = [];
    chunk = chunk.subarray(end + 1);
    turn = turn.then(() => carryOut(line));
  }
  pending.push(chunk);
});
process.stdin.on("end", () => process.exit(0));
