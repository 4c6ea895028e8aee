// Random values that are the same in every run.

import type { Json } from "../src/merge-patch.js";

export type Dice = (below: number) => number;

export function dice(seed: number): Dice {
  let state = seed * 2654435761 + 1;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0; // splitmix
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below;
  };
}

export function randomJson(random: Dice, depth = 3): Json {
  switch (depth && random(8)) {
    case 0:
      return random(3);
    case 1:
      return null;
    case 2:
      return [random(2), randomJson(random, depth - 1)];
    default:
      return Object.fromEntries(
        Array.from({ length: random(4) }, () => ["abc"[random(3)]!, randomJson(random, depth - 1)]),
      );
  }
}
