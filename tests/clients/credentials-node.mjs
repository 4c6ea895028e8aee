// node credentials-node.mjs '{"url": "...", "tokens": {...}}': the outcome of credentials.mjs, one line of JSON.

import { Client } from "../../clients/js/dist/index.js";
import { run } from "./credentials.mjs";

const WebSocket = globalThis.WebSocket ?? (await import("ws")).default;
const outcome = await run({ Client, WebSocket, ...JSON.parse(process.argv[2]) });
process.stdout.write(`${JSON.stringify(outcome)}\n`);
process.exit(0);
