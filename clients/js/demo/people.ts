// Names, and the colours that belong to them.

import { make } from "./dom.js";

const FIRST = ["amber", "brave", "calm", "clever", "coral", "gentle", "lucky", "mellow", "quiet", "sunny"];
const SECOND = ["badger", "falcon", "fox", "heron", "lynx", "marten", "otter", "owl", "seal", "wren"];

function pick(list: string[]): string {
  return list[Math.floor(Math.random() * list.length)]!;
}

export function inventName(): string {
  return `${pick(FIRST)}-${pick(SECOND)}`;
}

/** Return what of a text can be a user's name. */
export function cleanName(text: string): string {
  return text.trim().replace(/\s+/g, "-").replace(/[^A-Za-z0-9_-]/g, "").slice(0, 24);
}

export function hueOf(name: string): string {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)!) >>> 0;
  return String(Math.round((hash * 137.508) % 360)); // the golden angle keeps similar names apart
}

export function avatar(name: string): HTMLElement {
  const parts = name.split(/[-_ ]+/).filter(Boolean);
  const initials = parts.slice(0, 2).map((part) => part[0]!.toUpperCase());
  const element = make("span", "avatar", initials.join("") || "?");
  element.style.setProperty("--hue", hueOf(name));
  element.setAttribute("aria-hidden", "true");
  return element;
}

/** What to call a client: its user, or the beginning of its id. */
export function nameOf({ client, user }: { client: string; user?: string }): string {
  return user ?? client.slice(0, 8);
}
