import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { step, TABLE, type Input, type State } from "../src/machine.js";
import { picture } from "../scripts/picture.js";

const STATES: State[] = ["idle", "asking", "opening", "online", "waiting", "stopped"];
const INPUTS: Input[] = ["connect", "token", "hello", "lost", "again", "refused", "timer", "wake", "close"];

// Each state, each input: what follows.  A dot is "nothing happens".
const EXPECTED: Record<State, string[]> = {
  //        connect        token            hello            lost                   again             refused           timer              wake               close
  idle: ["asking:ask", ".", ".", ".", ".", ".", ".", ".", "."],
  asking: [".", "opening:open", ".", "waiting:wait", ".", "stopped:", ".", ".", "idle:"],
  opening: [".", ".", "online:greet", "waiting:drop,wait", "asking:drop,ask", "stopped:drop", ".", ".", "idle:drop"],
  online: [".", ".", ".", "waiting:drop,wait", "asking:drop,ask", "stopped:drop", ".", "online:probe", "idle:drop"],
  waiting: ["asking:rest,ask", ".", ".", ".", ".", ".", "asking:rest,ask", "asking:rest,ask", "idle:rest"],
  stopped: ["asking:ask", ".", ".", ".", ".", ".", ".", ".", "idle:"],
};

describe("the table", () => {
  for (const state of STATES) {
    INPUTS.forEach((input, i) => {
      it(`${state}, ${input}`, () => {
        const result = step(state, input);
        expect(result ? `${result.next}:${result.effects.join(",")}` : ".").toBe(EXPECTED[state][i]);
      });
    });
  }

  it("has no other states and inputs", () => {
    expect(Object.keys(TABLE).sort()).toEqual([...STATES].sort());
    for (const row of Object.values(TABLE)) for (const input of Object.keys(row)) expect(INPUTS).toContain(input);
  });

  it("can be left from everywhere, and come back to from everywhere", () => {
    const reachable = (from: State) => {
      const seen = new Set<State>([from]);
      for (const state of seen) for (const [next] of Object.values(TABLE[state])) seen.add(next);
      return seen;
    };
    for (const state of STATES) {
      expect(reachable(state)).toContain("online");
      expect(reachable(state)).toContain("idle");
    }
  });

  it("makes a socket only behind `drop` or where there is none", () => {
    for (const [state, row] of Object.entries(TABLE)) {
      for (const [next, ...effects] of Object.values(row)) {
        const had = state === "opening" || state === "online";
        const keeps = next === "opening" || next === "online";
        expect(effects.includes("drop")).toBe(had && !keeps);
      }
    }
  });

  it("is what the picture in the README shows", () => {
    const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
    expect(readme).toContain(picture());
  });
});
