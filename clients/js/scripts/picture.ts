// The table of the connection's states as a Mermaid picture, for README.md; a test compares.

import { TABLE } from "../src/machine.js";

export function picture(): string {
  const lines = Object.entries(TABLE).flatMap(([state, row]) =>
    Object.entries(row).map(([input, [next, ...effects]]) => {
      const done = effects.length ? ` / ${effects.join(", ")}` : "";
      return `    ${state} --> ${next}: ${input}${done}`;
    }),
  );
  return ["```mermaid", "stateDiagram-v2", "    [*] --> idle", ...lines, "```"].join("\n");
}
