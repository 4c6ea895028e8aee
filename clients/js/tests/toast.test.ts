import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Status } from "../src/index.js";
import { FIRST_MS, GOOD_MS, SETTLE_MS, Toaster, type Toast } from "../src/toast.js";

let shown: Toast | null;
let toaster: Toaster;

beforeEach(() => {
  vi.useFakeTimers();
  shown = null;
  toaster = new Toaster((toast) => (shown = toast));
});
afterEach(() => vi.useRealTimers());

const ONLINE: Status = { state: "online", client: "c" };
const CONNECTING: Status = { state: "connecting" };
const wait = (seconds: number): Status => ({ state: "reconnecting", seconds });

function tell(status: Status, ms = 0): Toast | null {
  toaster.update(status);
  vi.advanceTimersByTime(ms);
  return shown;
}

describe("a toast", () => {
  it("is not there while nothing is wrong", () => {
    expect(tell({ state: "offline" }, 10_000)).toBeNull();
    expect(tell(CONNECTING, FIRST_MS - 1)).toBeNull();
    expect(tell(ONLINE, 10_000)).toBeNull();
  });

  it("says that the first attempt takes long", () => {
    expect(tell(CONNECTING, FIRST_MS)).toEqual({ kind: "wait", text: "Connecting…" });
    expect(tell(ONLINE)).toEqual({ kind: "good", text: "Back online" });
  });

  it("says nothing of a break that is over at once", () => {
    tell(ONLINE);
    tell(wait(1), 200);
    tell(CONNECTING, SETTLE_MS - 201);
    expect(tell(ONLINE)).toBeNull();
    expect(tell(ONLINE, 10_000)).toBeNull();
  });

  it("counts down, tries, and says when it is over", () => {
    tell(ONLINE);
    expect(tell(wait(3), SETTLE_MS)).toEqual({ kind: "wait", text: "Reconnecting in 3 s…", action: "Try now" });
    expect(tell(wait(2))?.text).toBe("Reconnecting in 2 s…");
    expect(tell(wait(0))?.text).toBe("Reconnecting…");
    expect(tell(CONNECTING)).toEqual({ kind: "wait", text: "Reconnecting…" });
    expect(tell(ONLINE, GOOD_MS - 1)).toEqual({ kind: "good", text: "Back online" });
    vi.advanceTimersByTime(1);
    expect(shown).toBeNull();
  });

  it("goes on when the next break comes before it is gone", () => {
    tell(ONLINE);
    tell(wait(3), SETTLE_MS);
    tell(ONLINE, 1000);
    tell(wait(5), SETTLE_MS);
    vi.advanceTimersByTime(GOOD_MS);
    expect(shown?.text).toBe("Reconnecting in 5 s…");
  });

  it("says why the gateway does not want this client", () => {
    tell(ONLINE);
    const refused: Status = { state: "offline", code: 4001, reason: "the token expired" };
    expect(tell(refused)).toEqual({ kind: "bad", text: "Offline: the token expired", action: "Try now" });
    expect(tell({ state: "offline" })).toBeNull();
  });

  it("speaks other languages", () => {
    toaster.labels = { ...toaster.labels, waiting: "Neuer Versuch in {n} s", retry: "Jetzt" };
    tell(ONLINE);
    expect(tell(wait(7), SETTLE_MS)).toMatchObject({ text: "Neuer Versuch in 7 s", action: "Jetzt" });
  });
});
