// The shared board: notes that everybody moves and writes on, and everybody's cursor.
//
// The notes are a shared state, { notes: { id: { x, y, z, text, tint } } }; places are shares of the board from 0 to
// 1, so that it looks alike on a phone and on a desk.  Cursors are messages that nobody keeps waiting.

import type { Client, Member } from "../src/index.js";
import { state, type Conflict, type Json, type SharedState } from "../src/state.js";
import { find, make, throttled } from "./dom.js";
import { hueOf, nameOf } from "./people.js";

const CHANNEL = "ringgate-demo:board";
const CURSORS = "cursors:demo";
const TINTS = 5;
const MOST_NOTES = 40;
const CURSOR_MS = 60;
const IDLE_MS = 8000;

interface Note {
  x: number;
  y: number;
  z: number;
  text: string;
  tint: number;
}

/** Return the notes of a state; anything else that somebody may have put there is left out. */
function notesOf(value: Json): Map<string, Note> {
  const notes = ((value as { notes?: Json } | null)?.notes ?? {}) as Record<string, Partial<Note> | null>;
  const number = (given: unknown, most: number) => (typeof given === "number" ? Math.min(most, Math.max(0, given)) : 0);
  return new Map(
    Object.entries(notes)
      .filter(([, note]) => typeof note === "object" && note !== null)
      .slice(0, MOST_NOTES)
      .map(([id, note]) => {
        const { x, y, z, text, tint } = note!;
        const place = { x: number(x, 1), y: number(y, 1), z: number(z, 1e6), tint: number(tint, TINTS - 1) };
        return [id, { ...place, text: typeof text === "string" ? text : "" }];
      }),
  );
}

/** Return a place as far from all notes as a few attempts find. */
function freePlace(notes: Note[]): { x: number; y: number } {
  const share = () => Math.round(1000 * (0.08 + 0.84 * Math.random())) / 1000;
  const room = ({ x, y }: { x: number; y: number }) => Math.min(1, ...notes.map((note) => Math.hypot(note.x - x, note.y - y)));
  const places = Array.from({ length: 20 }, () => ({ x: share(), y: share() }));
  return places.reduce((best, place) => (room(place) > room(best) ? place : best));
}

export class Board {
  readonly #client: Client;
  readonly #shared: SharedState;
  readonly #board = find("board");
  readonly #elements = new Map<string, HTMLElement>();
  readonly #cursors = new Map<string, { element: HTMLElement; timer: ReturnType<typeof setTimeout> }>();
  readonly #point: (place: { x: number; y: number } | null) => void;

  constructor(client: Client) {
    this.#client = client;
    this.#shared = state(client, CHANNEL);
    this.#shared.on("change", (value) => this.#draw(notesOf(value)));
    this.#shared.on("conflict", (conflict) => this.#conflict(conflict));
    this.#shared.on("ended", ({ message }) => (find("board-hint").textContent = `No access to the board: ${message}`));
    client.subscribe(CURSORS, ({ from, data }) => from && this.#cursor(from, data), { resume: false });
    this.#point = throttled(CURSOR_MS, (place) => {
      client.publish(CURSORS, place, { ttl: 0 }).catch(() => undefined); // the next one comes soon
    });
    this.#listen();
  }

  /** Somebody is gone, and the cursor with them. */
  left({ client }: Member): void {
    const cursor = this.#cursors.get(client);
    clearTimeout(cursor?.timer);
    cursor?.element.remove();
    this.#cursors.delete(client);
  }

  // ---- notes ----

  #change(id: string, note: Partial<Note> | null): void {
    // What fails is taken back by the shared state, and drawn again.
    this.#shared.update({ notes: { [id]: note } } as Json).catch(() => undefined);
    find("board-pending").hidden = this.#client.status.state === "online";
  }

  #draw(notes: Map<string, Note>): void {
    find("board-hint").hidden = notes.size > 0;
    for (const [id, element] of this.#elements) {
      if (notes.has(id)) continue;
      element.remove();
      this.#elements.delete(id);
    }
    for (const [id, note] of notes) {
      const element = this.#elements.get(id) ?? this.#element(id);
      element.style.setProperty("--x", String(note.x));
      element.style.setProperty("--y", String(note.y));
      element.style.zIndex = String(note.z + 1);
      element.dataset["tint"] = String(Math.floor(note.tint));
      const text = element.querySelector("textarea")!;
      if (text.value !== note.text) text.value = note.text;
    }
  }

  #element(id: string): HTMLElement {
    const element = make("article", "note");
    element.dataset["id"] = id;
    const bar = make("div", "handle");
    bar.title = "Drag";
    const tint = make("button", "tint");
    tint.setAttribute("aria-label", "Another colour");
    const remove = make("button", "remove", "×");
    remove.setAttribute("aria-label", "Remove the note");
    const text = make("textarea");
    text.maxLength = 280;
    text.placeholder = "Write…";
    text.setAttribute("aria-label", "Text of the note");
    bar.append(tint, remove);
    element.append(bar, text);
    tint.type = remove.type = "button";
    tint.addEventListener("click", () => {
      this.#change(id, { tint: (Number(element.dataset["tint"]) + 1) % TINTS });
    });
    remove.addEventListener("click", () => this.#change(id, null));
    text.addEventListener("input", () => this.#change(id, { text: text.value }));
    text.addEventListener("focus", () => this.#raise(id));
    bar.addEventListener("pointerdown", (event) => event.target === bar && this.#drag(id, element, event));
    this.#elements.set(id, element);
    this.#board.append(element);
    return element;
  }

  #raise(id: string): void {
    const notes = notesOf(this.#shared.value);
    const top = Math.max(0, ...[...notes.values()].map(({ z }) => z));
    if (notes.get(id) && notes.get(id)!.z < top) this.#change(id, { z: top + 1 });
  }

  #drag(id: string, element: HTMLElement, down: PointerEvent): void {
    const bar = down.target as HTMLElement;
    const board = this.#board.getBoundingClientRect();
    const note = element.getBoundingClientRect();
    const grip = { x: down.clientX - note.left, y: down.clientY - note.top };
    const share = (at: number, room: number) => Math.round(1000 * Math.min(1, Math.max(0, at / Math.max(1, room)))) / 1000;
    const move = throttled(30, (event: PointerEvent) => {
      const x = share(event.clientX - board.left - grip.x, board.width - note.width);
      const y = share(event.clientY - board.top - grip.y, board.height - note.height);
      this.#change(id, { x, y });
    });
    this.#raise(id);
    element.classList.add("dragged");
    bar.setPointerCapture(down.pointerId);
    bar.addEventListener("pointermove", move);
    const done = () => {
      element.classList.remove("dragged");
      bar.removeEventListener("pointermove", move);
    };
    bar.addEventListener("lostpointercapture", done, { once: true });
  }

  #add(place?: { x: number; y: number }): void {
    const notes = notesOf(this.#shared.value);
    if (notes.size >= MOST_NOTES) return;
    const id = Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(36)).join("");
    const top = Math.max(0, ...[...notes.values()].map(({ z }) => z));
    const { x, y } = place ?? freePlace([...notes.values()]);
    this.#change(id, { x, y, z: top + 1, text: "", tint: notes.size % TINTS });
    this.#elements.get(id)?.querySelector("textarea")?.focus();
  }

  #conflict({ paths, from }: Conflict): void {
    const who = from ? nameOf(from) : "Somebody";
    for (const id of new Set(paths.map(([, id]) => id))) {
      const element = id === undefined ? undefined : this.#elements.get(id);
      if (!element) continue;
      element.querySelector(".both")?.remove();
      const said = make("p", "both", `${who} changed this too: yours is kept`);
      element.append(said);
      setTimeout(() => said.remove(), 6000);
    }
  }

  // ---- cursors ----

  #cursor(from: Member, data: unknown): void {
    const { status } = this.#client;
    if (status.state !== "online" || from.client === status.client) return;
    const { x, y } = (data ?? {}) as { x?: unknown; y?: unknown };
    if (typeof x !== "number" || typeof y !== "number") return this.left(from);
    const element = this.#cursors.get(from.client)?.element ?? this.#cursorOf(from);
    clearTimeout(this.#cursors.get(from.client)?.timer);
    element.style.setProperty("--x", String(Math.min(1, Math.max(0, x))));
    element.style.setProperty("--y", String(Math.min(1, Math.max(0, y))));
    this.#cursors.set(from.client, { element, timer: setTimeout(() => this.left(from), IDLE_MS) });
  }

  #cursorOf(from: Member): HTMLElement {
    const element = make("div", "cursor");
    element.style.setProperty("--hue", hueOf(nameOf(from)));
    element.append(make("i"), make("span", "", nameOf(from)));
    this.#board.append(element);
    return element;
  }

  #listen(): void {
    const place = ({ clientX, clientY }: MouseEvent) => {
      const { left, top, width, height } = this.#board.getBoundingClientRect();
      const round = (share: number) => Math.round(1000 * Math.min(1, Math.max(0, share))) / 1000;
      return { x: round((clientX - left) / width), y: round((clientY - top) / height) };
    };
    this.#board.addEventListener("pointermove", (event) => this.#point(place(event)));
    this.#board.addEventListener("pointerleave", () => this.#point(null));
    this.#board.addEventListener("dblclick", (event) => event.target === this.#board && this.#add(place(event)));
    find("add-note").addEventListener("click", () => this.#add());
    this.#client.on("status", ({ state: now }) => now === "online" && (find("board-pending").hidden = true));
  }
}
