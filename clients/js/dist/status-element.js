// src/toast.ts
var LABELS = {
  connecting: "Connecting…",
  waiting: "Reconnecting in {n} s…",
  reconnecting: "Reconnecting…",
  online: "Back online",
  offline: "Offline",
  retry: "Try now"
};
var SETTLE_MS = 400;
var FIRST_MS = 1500;
var GOOD_MS = 2500;
var Toaster = class {
  #show;
  labels;
  #shown = false;
  #met = false;
  // it was online once
  #toast = null;
  #settling = false;
  // a break is waited out
  #timer;
  constructor(show, labels = LABELS) {
    this.#show = show;
    this.labels = labels;
  }
  update(status) {
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
  hide() {
    this.#stop();
    this.#shown = false;
    this.#show(null);
  }
  #online(toast) {
    this.#met = true;
    this.#stop();
    if (!this.#shown) return;
    this.#shown = false;
    this.#show(toast);
    this.#timer = setTimeout(() => this.hide(), GOOD_MS);
  }
  #now() {
    this.#stop();
    this.#shown = true;
    this.#show(this.#toast);
  }
  #stop() {
    clearTimeout(this.#timer);
    this.#settling = false;
  }
  #toastOf(status) {
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
      case "offline":
        if (status.code === void 0) return null;
        return { kind: "bad", text: status.reason ? `${offline}: ${status.reason}` : offline, action: retry };
    }
  }
};

// src/status-element.ts
var STYLE = `
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
var Base = globalThis.HTMLElement ?? class {
};
var RinggateStatus = class extends Base {
  #client = null;
  #off;
  #text;
  #button;
  #toaster = new Toaster((toast) => this.#show(toast));
  /** Whose status is shown. */
  get client() {
    return this.#client;
  }
  set client(client) {
    this.#client = client;
    this.#watch();
  }
  /** The words; give some or all of LABELS in another language. */
  get labels() {
    return this.#toaster.labels;
  }
  set labels(labels) {
    this.#toaster.labels = { ...LABELS, ...labels };
  }
  connectedCallback() {
    if (!this.shadowRoot) this.#build();
    this.#watch();
  }
  disconnectedCallback() {
    this.#off?.();
    this.#off = void 0;
    this.#toaster.hide();
  }
  #build() {
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
  #watch() {
    this.#off?.();
    this.#off = void 0;
    if (!this.#client || !this.isConnected) return;
    this.#off = this.#client.on("status", (status) => this.#toaster.update(status));
    this.#toaster.update(this.#client.status);
  }
  #show(toast) {
    if (!toast) return this.removeAttribute("state");
    this.setAttribute("state", toast.kind);
    this.#text.textContent = toast.text;
    this.#button.textContent = toast.action ?? "";
    this.#button.hidden = !toast.action;
  }
};
function part(tag, name) {
  const element = document.createElement(tag);
  element.setAttribute("part", name);
  return element;
}
if (globalThis.customElements && !customElements.get("ringgate-status")) {
  customElements.define("ringgate-status", RinggateStatus);
}
export {
  LABELS,
  RinggateStatus
};
