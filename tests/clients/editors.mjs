// Editors of one shared state in one process: node editors.mjs '{"urls": ["ws://...", ...], "board": "board:1", "times": 20}'
//
// One editor for each address; every second one speaks MessagePack.  One command a line in, one answer a line out:
// {"op": "edit"} has all of them begin to edit at random, {"op": "report"} tells what each has.  What an editor
// writes last under its own name stays, whatever others do.  It ends with its input.

import { createInterface } from "node:readline";
import { Client } from "../../clients/js/dist/index.js";
import { msgpack } from "../../clients/js/dist/msgpack.js";
import { state } from "../../clients/js/dist/state.js";

const { urls, board, times } = JSON.parse(process.argv[2]);
const WebSocket = globalThis.WebSocket ?? (await import("ws")).default;
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Editor {
  constructor(url, number) {
    this.name = `js${number}`;
    const codec = number % 2 ? { codec: msgpack } : {};
    this.client = new Client(url, { WebSocket, backoffFirst: 20, backoffMost: 200, ...codec });
    this.state = state(this.client, board);
    this.versions = [];
    this.failed = [];
    this.conflicts = this.patches = this.states = this.open = 0;
    this.state.on("conflict", () => (this.conflicts += 1));
    const beside = this.client.subscribe(board, null, { state: true });
    beside.on("event", ({ type }) => (type === "patch" ? (this.patches += 1) : (this.states += type === "state")));
    this.client.connect();
  }

  async edit() {
    this.open += 1;
    for (let n = 0; n < times; n++) {
      const patch = { [this.name]: n, [pick("xyz")]: pick([null, n, { [this.name]: n, deep: [n] }]) };
      // Every fourth change is a function of what is there when it is sent.
      this.#update(n % 4 === 3 ? (value) => ({ ...patch, seen: Object.keys(value ?? {}).length }) : patch);
      await sleep(Math.random() * 30);
    }
    this.open -= 1;
  }

  #update(change) {
    this.open += 1;
    const done = this.state.update(change);
    done.then((version) => this.versions.push(version), ({ code }) => this.failed.push(code)).finally(() => (this.open -= 1));
  }

  report() {
    const { name, versions, failed, conflicts, patches, states, open } = this;
    const { value, pending, confirmed } = this.state;
    return { name, versions, failed, conflicts, patches, states, open, value, pending, confirmed };
  }
}

const editors = urls.map((url, number) => new Editor(url, number));
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  if (JSON.parse(line).op === "edit") for (const editor of editors) void editor.edit();
  process.stdout.write(`${JSON.stringify({ editors: editors.map((editor) => editor.report()) })}\n`);
});
lines.on("close", () => process.exit(0));
