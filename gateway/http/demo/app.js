// The demo page: a chat with presence, a live counter, and a meter.  Remote text only ever becomes textContent.

import { GatewayClient } from "/demo/client.js";

const CHAT = "chat:demo";
const COUNTER = "counter:demo";
const MOST_LINES = 400;
const GROUP_MS = 120_000;
const METER_S = 60;

const $ = (id) => document.getElementById(id);
const ui = Object.fromEntries(
  [
    "status", "status-text", "name-form", "name", "log", "empty", "newer", "composer", "text", "online",
    "members", "members-note", "count", "plus", "rate", "graph-area", "graph-line", "copy", "curl",
  ].map((id) => [id, $(id)]),
);

// ---- small things -----------------------------------------------------------------------------------------

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}

function inventName() {
  const first = ["amber", "brave", "calm", "clever", "coral", "gentle", "lucky", "mellow", "quiet", "sunny"];
  const second = ["badger", "falcon", "fox", "heron", "lynx", "marten", "otter", "owl", "seal", "wren"];
  return `${pick(first)}-${pick(second)}`;
}

function cleanName(text) {
  return text.trim().replace(/\s+/g, "-").replace(/[^A-Za-z0-9_-]/g, "").slice(0, 24);
}

function hueOf(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  return Math.round((hash * 137.508) % 360); // the golden angle keeps similar names apart
}

function avatar(name) {
  const parts = name.split(/[-_ ]+/).filter(Boolean);
  const initials = parts.slice(0, 2).map((part) => part[0].toUpperCase()).join("");
  const element = make("span", "avatar", initials || "?");
  element.style.setProperty("--hue", hueOf(name));
  element.setAttribute("aria-hidden", "true");
  return element;
}

function clockTime(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

// A message may come from anywhere: text where there is some, else the JSON as it is.
function textOf(event) {
  if (event.data64 !== undefined) return { text: `${event.data64.length} characters of base64`, code: true };
  const { data } = event;
  if (typeof data === "string") return { text: data };
  if (data !== null && typeof data === "object" && typeof data.text === "string") return { text: data.text };
  return { text: JSON.stringify(data), code: true };
}

// ---- the log ----------------------------------------------------------------------------------------------

const log = {
  last: null, // { client, time } of the newest line, for grouping
  pending: new Map(), // key -> line of ours that the gateway has not numbered yet

  atEnd() {
    return ui.log.scrollHeight - ui.log.scrollTop - ui.log.clientHeight < 60;
  },

  scroll() {
    ui.log.scrollTop = ui.log.scrollHeight;
    ui.newer.hidden = true;
  },

  append(line, quiet = false) {
    const follow = this.atEnd();
    ui.empty.hidden = true;
    const firstPending = ui.log.querySelector(".pending");
    ui.log.insertBefore(line, line.classList.contains("pending") ? null : firstPending);
    while (ui.log.childElementCount > MOST_LINES) ui.empty.nextElementSibling.remove();
    if (follow) this.scroll();
    else if (!quiet) ui.newer.hidden = false;
  },

  notice(text) {
    this.last = null;
    this.append(make("p", "notice", text), true);
  },

  line(event, mine, pending = false) {
    const service = !event.from;
    const name = service ? "app service" : event.from.user || event.from.client.slice(0, 8);
    const client = service ? "" : event.from.client;
    const joined =
      this.last !== null && this.last.client === client && event.time - this.last.time < GROUP_MS;
    if (!pending) this.last = { client, time: event.time };
    const line = make("article", `line${mine ? " mine" : ""}${service ? " service" : ""}${joined ? " joined" : ""}`);
    const { text, code } = textOf(event);
    const head = make("div", "head");
    head.append(make("span", "who", mine ? "You" : name));
    if (service) head.append(make("span", "tag", "HTTP"));
    head.append(make("time", "", clockTime(event.time)));
    const body = make("div", "body");
    body.append(head, make(code ? "code" : "p", "bubble", text));
    line.append(avatar(name), body);
    return line;
  },

  message(event) {
    const mine = Boolean(event.from) && event.from.client === client.client;
    const key = event.data?.key;
    const pending = typeof key === "string" ? this.pending.get(key) : undefined;
    if (pending) {
      pending.remove();
      this.pending.delete(key);
    }
    this.append(this.line(event, mine || Boolean(pending)), mine || Boolean(pending));
    if (pending) this.scroll();
  },

  clear() {
    for (const line of ui.log.querySelectorAll(".line:not(.pending), .notice")) line.remove();
    this.last = null;
  },
};

// ---- presence ---------------------------------------------------------------------------------------------

const presence = {
  members: new Map(), // client -> user

  nameOf(member) {
    return member.user || member.client.slice(0, 8);
  },

  async refresh() {
    try {
      const reply = await client.command({ type: "presence", channel: CHAT });
      this.members = new Map(reply.members.map((member) => [member.client, this.nameOf(member)]));
      ui["members-note"].hidden = true;
    } catch (error) {
      if (!error.code) return; // the connection ended; the next one asks again
      ui["members-note"].hidden = false;
      ui["members-note"].textContent = "This gateway keeps no presence for chat.";
    }
    this.show();
  },

  change(event) {
    const known = this.members.has(event.client);
    if (event.type === "join") this.members.set(event.client, this.nameOf(event));
    else this.members.delete(event.client);
    this.show();
    if (event.client === client.client || known === (event.type === "join")) return;
    log.notice(`${this.nameOf(event)} ${event.type === "join" ? "joined" : "left"}`);
  },

  show() {
    ui.online.textContent = this.members.size;
    const order = [...this.members].sort(
      ([a, nameA], [b, nameB]) => (b === client.client) - (a === client.client) || nameA.localeCompare(nameB),
    );
    ui.members.replaceChildren(
      ...order.map(([id, name]) => {
        const item = make("li", id === client.client ? "self" : "");
        item.append(avatar(name), make("span", "who", name));
        if (id === client.client) item.append(make("span", "tag", "you"));
        return item;
      }),
    );
  },
};

// ---- counter and meter ------------------------------------------------------------------------------------

// The count is the channel's own offset: the gateway numbers its messages, so nobody has to add anything up.
function showCount(offset) {
  ui.count.textContent = offset.toLocaleString("en");
  ui.count.classList.remove("bump");
  void ui.count.offsetWidth; // restarts the animation
  ui.count.classList.add("bump");
}

const meter = {
  seconds: Array.from({ length: METER_S }, () => 0),
  now: 0,

  tick() {
    this.seconds.push(this.now);
    this.seconds.shift();
    this.now = 0;
    const recent = this.seconds.slice(-5).reduce((sum, value) => sum + value, 0) / 5;
    ui.rate.textContent = recent >= 10 ? Math.round(recent) : recent.toFixed(1).replace(/\.0$/, "");
    const most = Math.max(4, ...this.seconds);
    const points = this.seconds.map(
      (value, i) => `${((i * 240) / (METER_S - 1)).toFixed(1)} ${(38 - (value / most) * 35).toFixed(1)}`,
    );
    ui["graph-line"].setAttribute("d", `M${points.join("L")}`);
    ui["graph-area"].setAttribute("d", `M0 40L${points.join("L")}L240 40Z`);
  },
};

// ---- what the gateway says ----------------------------------------------------------------------------------

const chatHandlers = {
  message(event) {
    meter.now += 1;
    log.message(event);
  },
  async opened({ lost }) {
    presence.refresh();
    const { offset } = client.position(CHAT);
    try {
      const page = await client.command({ type: "history", channel: CHAT, limit: 50, before: offset + 1 });
      if (lost) log.clear();
      const newer = [...ui.log.querySelectorAll(".line, .notice")]; // came while we asked
      log.last = null;
      for (const event of page.publications) log.message(event);
      for (const line of newer) ui.log.append(line);
    } catch (error) {
      if (!error.code) return;
    }
    if (lost) log.notice("The gateway started afresh: what is older than its history is gone");
    log.scroll();
  },
  resumed() {
    presence.refresh();
  },
  refused(error) {
    log.notice(`No access to the chat: ${error.message}`);
  },
  other(event) {
    if (event.type === "join" || event.type === "leave") presence.change(event);
    else if (event.type === "gap") log.notice("Some messages were skipped: this page read too slowly");
  },
};

const counterHandlers = {
  message(event) {
    meter.now += 1;
    showCount(event.offset);
  },
  opened() {
    showCount(client.position(COUNTER).offset);
  },
};

let retryAt = 0;

function showStatus({ state, retryAt: at = 0, reason = "" }) {
  retryAt = at;
  ui.status.dataset.state = state;
  ui.status.disabled = state === "online" || state === "connecting";
  const text = { online: "Connected", connecting: "Connecting…", stopped: reason || "Disconnected" };
  ui["status-text"].textContent = text[state] ?? waitingText();
  ui.status.title = ui.status.disabled ? "" : "Connect now";
}

function waitingText() {
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  return `Reconnecting in ${seconds} s`;
}

// ---- what the user does -------------------------------------------------------------------------------------

function say(text) {
  const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  const line = log.line({ from: { client: client.client, user: ui.name.value }, data: text, time: Date.now() }, true, true);
  line.classList.add("pending");
  log.pending.set(key, line);
  log.append(line, true);
  log.scroll();
  client.publish(CHAT, { text, key }, key).catch((error) => {
    log.pending.delete(key);
    line.classList.replace("pending", "failed");
    line.querySelector(".body").append(make("p", "why", error.message));
  });
}

function rename() {
  const name = cleanName(ui.name.value) || inventName();
  const changed = name !== sessionStorage.getItem("name");
  ui.name.value = name;
  sessionStorage.setItem("name", name);
  if (changed) client.start();
}

function listen() {
  ui.composer.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = ui.text.value.trim();
    ui.text.value = "";
    if (text) say(text);
  });
  ui["name-form"].addEventListener("submit", (event) => {
    event.preventDefault();
    ui.text.focus();
  });
  ui.name.addEventListener("change", rename);
  ui.status.addEventListener("click", () => client.start());
  ui.newer.addEventListener("click", () => log.scroll());
  ui.log.addEventListener("scroll", () => log.atEnd() && (ui.newer.hidden = true));
  ui.plus.addEventListener("click", () => {
    client.publish(COUNTER, 1, crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`).catch(() => {});
  });
  ui.copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(ui.curl.textContent);
    ui.copy.textContent = "Copied";
    setTimeout(() => (ui.copy.textContent = "Copy"), 1500);
  });
  const retryNow = () => ui.status.dataset.state === "waiting" && client.start();
  addEventListener("online", retryNow);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && retryNow());
  setInterval(() => {
    meter.tick();
    if (ui.status.dataset.state === "waiting") ui["status-text"].textContent = waitingText();
  }, 1000);
}

const config = await (await fetch("/demo/config.json")).json();

function edgeUrl() {
  const scheme = config.tls || location.protocol === "https:" ? "wss" : "ws";
  const user = encodeURIComponent(sessionStorage.getItem("name"));
  return `${scheme}://${location.hostname}:${config.ws_port}${config.path}?user=${user}`;
}

if (!sessionStorage.getItem("name")) sessionStorage.setItem("name", inventName());
ui.name.value = sessionStorage.getItem("name");
ui.curl.textContent =
  `curl ${location.origin}/api/publish \\\n  -H 'Content-Type: application/json' \\\n` +
  `  -d '{"channel": "${CHAT}",\n       "data": "Hello from curl"}'`;

const client = new GatewayClient(edgeUrl, showStatus);
client.subscribe(CHAT, chatHandlers);
client.subscribe(COUNTER, counterHandlers);
listen();
meter.tick();
client.start();
