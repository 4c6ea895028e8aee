// The chat room: what was said, what is being sent, who is here, who is typing.

import type { Client, Member, Message, Publication, Subscription } from "../src/index.js";
import { find, make, throttled } from "./dom.js";
import { avatar, nameOf } from "./people.js";

const ROOM = "chat:demo";
const TYPING = "typing:demo";
const MOST_LINES = 400;
const GROUP_MS = 120_000;
const TYPING_MS = 3500;

type Said = Pick<Publication, "data" | "time" | "from">;

/** Texts are shown as such, anything else that was published as the JSON that it is. */
function textOf(data: unknown): { text: string; code?: true } {
  if (data instanceof Uint8Array) return { text: `${data.length} bytes`, code: true };
  if (typeof data === "string") return { text: data };
  const { text } = (data ?? {}) as { text?: unknown };
  return typeof text === "string" ? { text } : { text: JSON.stringify(data), code: true };
}

function clockTime(ms: number): string {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

export class Chat {
  readonly #client: Client;
  readonly #me: () => string;
  readonly #room: Subscription;
  readonly #log = find("log");
  readonly #empty = find("empty");
  readonly #newer = find("newer");
  readonly #text = find<HTMLInputElement>("text");
  readonly #pending = new Map<string, HTMLElement>();
  readonly #typing = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #tellTyping: () => void;
  #last: { name: string; time: number } | null = null;
  #begun = false;
  #metMembers = false;

  constructor(client: Client, me: () => string) {
    this.#client = client;
    this.#me = me;
    this.#room = client.subscribe(ROOM, (message) => this.#message(message), { presence: true });
    this.#room.on("subscribed", ({ resumed }) => void (resumed && this.#begun ? undefined : this.#load()));
    this.#room.on("members", (members) => this.#showMembers(members));
    this.#room.on("join", (member) => this.#comes(member, "joined"));
    this.#room.on("leave", (member) => this.#comes(member, "left"));
    this.#room.on("ended", (error) => this.notice(`No access to the chat: ${error.message}`));
    this.#room.on("lost", ({ reason }) => reason !== "resume" && this.notice("Some messages were skipped"));
    client.subscribe(TYPING, ({ from }) => from && this.#types(nameOf(from)), { resume: false });
    this.#tellTyping = throttled(1500, () => {
      client.publish(TYPING, 1, { ttl: 0 }).catch(() => undefined); // nobody misses it
    });
    this.#listen();
  }

  onLeave(callback: (member: Member) => void): void {
    this.#room.on("leave", callback);
  }

  notice(text: string): void {
    this.#last = null;
    this.#append(make("p", "notice", text), true);
  }

  // ---- what was said ----

  async #load(): Promise<void> {
    const again = this.#begun;
    this.#begun = true;
    const { position } = this.#room;
    try {
      const page = await this.#client.history(ROOM, { limit: 50, before: (position?.offset ?? 0) + 1 });
      if (again) this.#clear();
      const newer = [...this.#log.querySelectorAll<HTMLElement>(".line:not(.pending), .notice")]; // came meanwhile
      this.#last = null;
      for (const publication of page.publications) this.#message(publication);
      for (const line of newer) this.#append(line, true);
      if (again) this.notice("The gateway started afresh: what is older than its history is gone");
    } catch (error) {
      this.notice(`What was said before cannot be shown: ${(error as Error).message}`);
    }
    this.#scroll();
  }

  #message(message: Message | Publication): void {
    const key = (message.data as { key?: unknown } | null)?.key;
    const pending = typeof key === "string" ? this.#pending.get(key) : undefined;
    if (pending) {
      pending.remove();
      this.#pending.delete(key as string);
    }
    if (message.from) this.#typed(nameOf(message.from));
    this.#append(this.#line(message), pending !== undefined);
    if (pending) this.#scroll();
  }

  #line(said: Said, pending = false): HTMLElement {
    const name = said.from ? nameOf(said.from) : "app service";
    const mine = said.from?.user === this.#me();
    const joined = this.#last?.name === name && said.time - this.#last.time < GROUP_MS;
    if (!pending) this.#last = { name, time: said.time };
    const kinds = [mine && "mine", !said.from && "service", joined && "joined", pending && "pending"];
    const line = make("article", ["line", ...kinds.filter(Boolean)].join(" "));
    const { text, code } = textOf(said.data);
    const head = make("div", "head");
    head.append(make("span", "who", mine ? "You" : name));
    if (!said.from) head.append(make("span", "tag", "HTTP"));
    head.append(make("time", "", clockTime(said.time)));
    const body = make("div", "body");
    body.append(head, make(code ? "code" : "p", "bubble", text));
    line.append(avatar(name), body);
    return line;
  }

  #append(line: HTMLElement, quiet = false): void {
    const follow = this.#atEnd();
    if (!line.classList.contains("notice")) this.#empty.hidden = true;
    const firstPending = this.#log.querySelector(".pending");
    this.#log.insertBefore(line, line.classList.contains("pending") ? null : firstPending);
    while (this.#log.childElementCount > MOST_LINES) this.#empty.nextElementSibling!.remove();
    if (follow) this.#scroll();
    else if (!quiet) this.#newer.hidden = false;
  }

  #clear(): void {
    for (const line of this.#log.querySelectorAll(".line:not(.pending), .notice")) line.remove();
    this.#last = null;
  }

  #atEnd(): boolean {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 60;
  }

  #scroll(): void {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#newer.hidden = true;
  }

  // ---- saying something ----

  #say(text: string): void {
    const key = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
    const { status } = this.#client;
    const from = { client: status.state === "online" ? status.client : "", user: this.#me() };
    const line = this.#line({ from, data: text, time: Date.now() }, true);
    this.#pending.set(key, line);
    this.#append(line, true);
    this.#scroll();
    this.#client.publish(ROOM, { text, key }, { key }).catch((error: Error) => {
      this.#pending.delete(key);
      line.classList.replace("pending", "failed");
      line.querySelector(".body")!.append(make("p", "why", error.message));
    });
  }

  #listen(): void {
    find("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#text.value.trim();
      this.#text.value = "";
      if (text) this.#say(text);
    });
    this.#text.addEventListener("input", () => this.#text.value && this.#tellTyping());
    this.#newer.addEventListener("click", () => this.#scroll());
    this.#log.addEventListener("scroll", () => this.#atEnd() && (this.#newer.hidden = true));
  }

  // ---- who is here ----

  #comes(member: Member, what: string): void {
    const { status } = this.#client;
    if (status.state !== "online" || member.client === status.client || !this.#metMembers) return;
    if (nameOf(member) !== this.#me()) this.notice(`${nameOf(member)} ${what}`);
    if (what === "left") this.#typed(nameOf(member));
  }

  #showMembers(members: ReadonlyMap<string, Member>): void {
    const { status } = this.#client;
    const own = status.state === "online" ? status.client : "";
    const order = [...members.values()].sort(
      (a, b) => Number(b.client === own) - Number(a.client === own) || nameOf(a).localeCompare(nameOf(b)),
    );
    this.#metMembers = true; // who was here before us did not just join
    find("online").textContent = String(members.size);
    find("members").replaceChildren(
      ...order.map((member) => {
        const item = make("li", member.client === own ? "self" : "");
        item.title = nameOf(member);
        item.append(avatar(nameOf(member)), make("span", "who", nameOf(member)));
        return item;
      }),
    );
  }

  // ---- who is typing ----

  #types(name: string): void {
    if (name === this.#me()) return;
    clearTimeout(this.#typing.get(name));
    this.#typing.set(name, setTimeout(() => this.#typed(name), TYPING_MS));
    this.#showTyping();
  }

  #typed(name: string): void {
    clearTimeout(this.#typing.get(name));
    if (this.#typing.delete(name)) this.#showTyping();
  }

  #showTyping(): void {
    const names = [...this.#typing.keys()];
    const who = names.length > 2 ? "Several people" : names.join(" and ");
    const line = find("typing");
    line.dataset["on"] = String(names.length > 0);
    find("typing-who").textContent = names.length ? `${who} ${names.length > 1 ? "are" : "is"} typing` : "";
  }
}
