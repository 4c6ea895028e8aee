import { describe, expect, it } from "vitest";
import { compose, difference, merge, overlap, same, type Json } from "../src/merge-patch.js";
import { dice, randomJson } from "./random.js";

// RFC 7396, appendix A.
const TABLE: [Json, Json, Json][] = [
  [{ a: "b" }, { a: "c" }, { a: "c" }],
  [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
  [{ a: "b" }, { a: null }, {}],
  [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
  [{ a: ["b"] }, { a: "c" }, { a: "c" }],
  [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
  [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
  [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
  [["a", "b"], ["c", "d"], ["c", "d"]],
  [{ a: "b" }, ["c"], ["c"]],
  [{ a: "foo" }, null, null],
  [{ a: "foo" }, "bar", "bar"],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: "b", c: null }, { a: "b" }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
];

describe("merging", () => {
  it.each(TABLE)("%j with %j", (target, patch, result) => {
    expect(merge(target, patch)).toEqual(result);
  });

  it("leaves what it was given alone, and what it does not touch the same", () => {
    const before = { a: { x: 1 }, b: { y: 2 } };
    const after = merge(before, { a: { x: 3 } }) as typeof before;
    expect(before).toEqual({ a: { x: 1 }, b: { y: 2 } });
    expect(after.b).toBe(before.b);
  });

  it("takes __proto__ for a name", () => {
    const patch = JSON.parse('{"__proto__": {"hit": 1}}') as Json;
    const after = merge({}, patch) as { hit?: number };
    expect(after.hit).toBeUndefined();
    expect(JSON.stringify(after)).toBe('{"__proto__":{"hit":1}}');
  });
});

describe("random values", () => {
  const random = dice(7);
  const cases = Array.from({ length: 2000 }, () => [randomJson(random), randomJson(random), randomJson(random)] as const);

  it("a difference makes the one of the other, where no member is null", () => {
    for (const [before, after] of cases) {
      const patch = difference(withoutNull(before), withoutNull(after));
      const made = patch === undefined ? withoutNull(before) : merge(withoutNull(before), patch);
      expect(made).toEqual(withoutNull(after));
    }
  });

  it("a composed patch does what both do", () => {
    let composed = 0;
    for (const [target, first, second] of cases) {
      const both = compose(first, second);
      if (both === undefined) continue;
      composed += 1;
      expect(merge(target, both)).toEqual(merge(merge(target, first), second));
    }
    expect(composed).toBeGreaterThan(500);
  });

  it("a patch twice is a patch once", () => {
    for (const [target, patch] of cases) expect(merge(merge(target, patch), patch)).toEqual(merge(target, patch));
  });

  it("same is what toEqual says", () => {
    for (const [a, b] of cases) {
      expect(same(a, JSON.parse(JSON.stringify(a)) as Json)).toBe(true);
      expect(same(a, b)).toBe(JSON.stringify(sorted(a)) === JSON.stringify(sorted(b)));
    }
  });
});

describe("overlapping", () => {
  it.each<[Json, Json, string[][]]>([
    [{ a: 1 }, { b: 2 }, []],
    [{ a: 1, c: 1 }, { a: 2, b: 2 }, [["a"]]],
    [{ n: { a: { x: 1 } } }, { n: { a: { y: 1 } } }, []],
    [{ n: { a: { x: 1, y: 1 } } }, { n: { a: { x: 2 } } }, [["n", "a", "x"]]],
    [{ n: { a: { x: 1 } } }, { n: { a: null } }, [["n", "a"]]],
    [1, { a: 1 }, [[]]],
  ])("%j and %j", (a, b, paths) => {
    expect(overlap(a, b)).toEqual(paths);
    expect(overlap(b, a)).toEqual(paths);
  });
});

function withoutNull(value: Json): Json {
  return merge({}, { value }) instanceof Object ? ((merge({}, { value }) as { value?: Json }).value ?? 0) : 0;
}

function sorted(value: Json): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, each]) => [name, sorted(each as Json)]);
}
