// The live list of a channel's members: a snapshot, kept true by `join` and `leave`.
//
// It knows no connection.  What always holds: what came while a snapshot was on its way is applied to it again, in
// order, so that a leave which overtook it is not undone; and a difference is told once, whatever is repeated.

import type { GatewayEvent, Member } from "./protocol.js";

export interface PresenceListener {
  joined(member: Member): void;
  left(member: Member): void;
  /** The list differs from what was told last. */
  changed(members: ReadonlyMap<string, Member>): void;
}

export class Presence {
  readonly #listener: PresenceListener;
  #members = new Map<string, Member>();
  #since: GatewayEvent[] | null = null;

  constructor(listener: PresenceListener) {
    this.#listener = listener;
  }

  /** Who is there, by client id. */
  get members(): ReadonlyMap<string, Member> {
    return this.#members;
  }

  /** A snapshot was asked for. */
  asked(): void {
    this.#since = [];
  }

  /** It came, or (with nothing) will not come. */
  answered(members?: Member[]): void {
    const since = this.#since ?? [];
    this.#since = null;
    if (!members) return;
    const next = new Map(members.map((member) => [member.client, member]));
    for (const event of since) apply(next, event);
    this.#replace(next);
  }

  /** A `join` or `leave` came. */
  change(event: GatewayEvent): void {
    this.#since?.push(event);
    const next = new Map(this.#members);
    apply(next, event);
    this.#replace(next);
  }

  #replace(next: Map<string, Member>): void {
    const before = this.#members;
    this.#members = next;
    const joined = [...next.values()].filter(({ client }) => !before.has(client));
    const left = [...before.values()].filter(({ client }) => !next.has(client));
    for (const member of joined) this.#listener.joined(member);
    for (const member of left) this.#listener.left(member);
    if (joined.length + left.length) this.#listener.changed(next);
  }
}

function apply(members: Map<string, Member>, event: GatewayEvent): void {
  const { type, channel: _, ...member } = event;
  if (type === "join") members.set(member["client"] as string, member as unknown as Member);
  else members.delete(member["client"] as string);
}
