// The custom element <ringgate-status>: a toast that says "reconnecting…" and "back online", without a framework.
//
//   const toast = document.querySelector("ringgate-status");
//   toast.client = client;
//
// It needs no stylesheet and gets on with a strict Content-Security-Policy.  Colours and place are custom properties
// (--ringgate-background, --ringgate-color, --ringgate-accent, --ringgate-bottom) and the parts `toast`, `dot`,
// `text` and `button`; words are the property `labels`.  The attribute `state` is what it shows: "wait", "good", "bad".

import type { Client } from "./client.js";
import { LABELS, Toaster, type Labels, type Toast } from "./toast.js";

export { LABELS, type Labels } from "./toast.js";

const STYLE = `
:host { position: fixed; z-index: 2147483000; inset: auto 0 var(--ringgate-bottom, 24px); display: flex;
  justify-content: center; pointer-events: none; font: 14px/1.4 system-ui, sans-serif; }
div { display: flex; align-items: center; gap: 10px; max-width: calc(100vw - 32px); padding: 9px 16px;
  border-radius: 22px; background: var(--ringgate-background, #1d2129); color: var(--ringgate-color, #f4f5f7);
  box-shadow: 0 6px 24px rgb(0 0 0 / 28%); opacity: 0; transform: translateY(12px);
  transition: opacity 0.2s, transform 0.2s, visibility 0.2s; visibility: hidden; }
:host([state]) div { opacity: 1; transform: none; pointer-events: auto; visibility: visible; }
i { flex: none; width: 9px; height: 9px; border-radius: 50%; background: #f0b04a; }
:host([state="wait"]) i { animation: pulse 0.9s infinite alternate; }
:host([state="good"]) i { background: #3fcf8e; }
:host([state="bad"]) i { background: #ff7a70; }
span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-variant-numeric: tabular-nums; }
button { margin: -3px -6px -3px 0; padding: 3px 8px; border: 0; border-radius: 12px; background: none;
  color: var(--ringgate-accent, #a9b4ff); font: inherit; font-weight: 600; cursor: pointer; }
button:hover { background: rgb(255 255 255 / 12%); }
button:focus-visible { outline: 2px solid currentcolor; }
@keyframes pulse { to { opacity: 0.25; } }
@media (prefers-reduced-motion: reduce) { div { transition: none; } i { animation: none !important; } }
`;

// Where there is no DOM (a server that renders pages), the module can be imported all the same.
const Base = (globalThis.HTMLElement ?? class {}) as typeof HTMLElement;

export class RinggateStatus extends Base {
  #client: Client | null = null;
  #off: (() => void) | undefined;
  #text: HTMLElement | undefined;
  #button: HTMLButtonElement | undefined;
  readonly #toaster = new Toaster((toast) => this.#show(toast));

  /** Whose status is shown. */
  get client(): Client | null {
    return this.#client;
  }

  set client(client: Client | null) {
    this.#client = client;
    this.#watch();
  }

  /** The words; give some or all of LABELS in another language. */
  get labels(): Labels {
    return this.#toaster.labels;
  }

  set labels(labels: Partial<Labels>) {
    this.#toaster.labels = { ...LABELS, ...labels };
  }

  connectedCallback(): void {
    if (!this.shadowRoot) this.#build();
    this.#watch();
  }

  disconnectedCallback(): void {
    this.#off?.();
    this.#off = undefined;
    this.#toaster.hide();
  }

  #build(): void {
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    const toast = part("div", "toast");
    toast.setAttribute("role", "status");
    this.#text = part("span", "text");
    this.#button = part("button", "button");
    this.#button.type = "button";
    this.#button.addEventListener("click", () => this.#client?.connect());
    toast.append(part("i", "dot"), this.#text, this.#button);
    root.append(toast);
  }

  #watch(): void {
    this.#off?.();
    this.#off = undefined;
    if (!this.#client || !this.isConnected) return;
    this.#off = this.#client.on("status", (status) => this.#toaster.update(status));
    this.#toaster.update(this.#client.status);
  }

  #show(toast: Toast | null): void {
    if (!toast) return this.removeAttribute("state"); // what it said fades with it
    this.setAttribute("state", toast.kind);
    this.#text!.textContent = toast.text;
    this.#button!.textContent = toast.action ?? "";
    this.#button!.hidden = !toast.action;
  }
}

function part<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, name: string): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.setAttribute("part", name);
  return element;
}

if (globalThis.customElements && !customElements.get("ringgate-status")) {
  customElements.define("ringgate-status", RinggateStatus);
}

declare global {
  interface HTMLElementTagNameMap {
    "ringgate-status": RinggateStatus;
  }
}
