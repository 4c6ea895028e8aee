// Asks the official parser whether a document is AsyncAPI: node validate.mjs FILE
//
// Prints what it finds wrong, and ends with 1 if that is anything.

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const INFORMATION = 2; // such as: a newer version of the specification is there
const file = process.argv[2];
const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"), { source: file });
const wrong = diagnostics.filter(({ severity }) => severity < INFORMATION);
for (const { code, message, path } of wrong) console.error(`${file}: ${path.join(".")}: ${message} (${code})`);
if (!document || wrong.length) process.exit(1);
console.log(`${file}: valid AsyncAPI ${document.version()}, ${document.allMessages().length} messages`);
