import { describe, expect, it } from "vitest";
import { advisedMs, delayMs, verdictOf } from "../src/backoff.js";
import { CLOSE_CODES } from "../src/codes.js";

const BOUNDS = { first: 1000, most: 15_000 };

describe("back-off", () => {
  it("is between 0 and a bound that doubles up to the greatest", () => {
    const bounds = [1000, 2000, 4000, 8000, 15_000, 15_000];
    bounds.forEach((bound, attempt) => {
      expect(delayMs(attempt, BOUNDS, () => 0)).toBe(0);
      expect(delayMs(attempt, BOUNDS, () => 0.999999)).toBeCloseTo(bound, -1);
    });
    expect(delayMs(5000, BOUNDS, () => 1)).toBe(15_000);
  });

  it("is spread evenly over all of it", () => {
    const waits = Array.from({ length: 20_000 }, () => delayMs(2, BOUNDS, Math.random));
    for (let quarter = 0; quarter < 4; quarter++) {
      const inside = waits.filter((wait) => wait >= quarter * 1000 && wait < (quarter + 1) * 1000).length;
      expect(inside).toBeGreaterThan(4500);
      expect(inside).toBeLessThan(5500);
    }
  });

  it("lies where the gateway advises", () => {
    expect(advisedMs([500, 2500], () => 0)).toBe(500);
    expect(advisedMs([500, 2500], () => 0.5)).toBe(1500);
    expect(advisedMs([500, 100], () => 1)).toBe(500);
  });
});

describe("close codes", () => {
  it.each([
    [4000, "refused"],
    [4099, "refused"],
    [4100, "lost"],
    [4199, "lost"],
    [4200, "again"],
    [4299, "again"],
    [4300, "lost"],
    [3999, "lost"],
    [1000, "lost"],
    [1001, "lost"],
    [1006, "lost"],
    [1009, "lost"],
    [1011, "lost"],
  ])("%i is %s", (code, verdict) => {
    expect(verdictOf(code)).toBe(verdict);
  });

  it("knows what every code of the gateway asks for", () => {
    const asked = Object.fromEntries(Object.entries(CLOSE_CODES).map(([code, name]) => [name, verdictOf(Number(code))]));
    expect(asked).toMatchObject({ unauthorized: "refused", over_capacity: "lost", slow_consumer: "again", drain: "again" });
  });
});
