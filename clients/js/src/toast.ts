// When a status becomes a toast, and for how long.
//
// It knows no DOM.  What always holds: a break that is over within SETTLE_MS shows nothing at all, and "back online"
// is said only to who was told of the break.

import type { Status } from "./status.js";

export interface Toast {
  kind: "wait" | "good" | "bad";
  text: string;
  /** What its button says; no button without it. */
  action?: string;
}

export interface Labels {
  connecting: string;
  /** `{n}` becomes the number of seconds. */
  waiting: string;
  reconnecting: string;
  online: string;
  offline: string;
  retry: string;
}

export const LABELS: Labels = {
  connecting: "Connecting…",
  waiting: "Reconnecting in {n} s…",
  reconnecting: "Reconnecting…",
  online: "Back online",
  offline: "Offline",
  retry: "Try now",
};

export const SETTLE_MS = 400;
export const FIRST_MS = 1500;
export const GOOD_MS = 2500;

export class Toaster {
  readonly #show: (toast: Toast | null) => void;
  labels: Labels;
  #shown = false;
  #met = false; // it was online once
  #toast: Toast | null = null;
  #settling = false; // a break is waited out
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(show: (toast: Toast | null) => void, labels: Labels = LABELS) {
    this.#show = show;
    this.labels = labels;
  }

  update(status: Status): void {
    const toast = this.#toastOf(status);
    if (status.state === "online") return this.#online(toast);
    this.#toast = toast;
    if (!toast) return this.hide();
    if (this.#shown || toast.kind === "bad") return this.#now();
    if (this.#settling) return;
    this.#stop();
    this.#settling = true;
    this.#timer = setTimeout(() => this.#now(), this.#met ? SETTLE_MS : FIRST_MS);
  }

  hide(): void {
    this.#stop();
    this.#shown = false;
    this.#show(null);
  }

  #online(toast: Toast | null): void {
    this.#met = true;
    this.#stop();
    if (!this.#shown) return;
    this.#shown = false;
    this.#show(toast);
    this.#timer = setTimeout(() => this.hide(), GOOD_MS);
  }

  #now(): void {
    this.#stop();
    this.#shown = true;
    this.#show(this.#toast);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#settling = false;
  }

  #toastOf(status: Status): Toast | null {
    const { connecting, waiting, reconnecting, online, offline, retry } = this.labels;
    switch (status.state) {
      case "online":
        return { kind: "good", text: online };
      case "connecting":
        return { kind: "wait", text: this.#met ? reconnecting : connecting };
      case "reconnecting": {
        const text = status.seconds ? waiting.replace("{n}", String(status.seconds)) : reconnecting;
        return { kind: "wait", text, action: retry };
      }
      case "offline": // of one's own will, or refused
        if (status.code === undefined) return null;
        return { kind: "bad", text: status.reason ? `${offline}: ${status.reason}` : offline, action: retry };
    }
  }
}
