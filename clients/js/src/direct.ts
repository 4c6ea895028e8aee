// What app services send to this user (the channel @ and the user's name) or to this client (@# and its id).
//
// The gateway subscribes to these by itself, and nobody can resume them; after a break the last messages may come
// again.  What always holds: each message is handed on once, as long as its id is among the last KEPT.

import { Channel, type Subscription, type Surroundings } from "./channel.js";
import type { GatewayEvent } from "./protocol.js";

const KEPT = 500;

export class Direct {
  readonly handle: Subscription;
  readonly #channel: Channel;
  readonly #seen = new Set<unknown>();

  constructor(around: Surroundings) {
    this.#channel = new Channel("@", around);
    this.#channel.live = true;
    this.handle = this.#channel.join({});
  }

  event(event: GatewayEvent): void {
    const { id, type } = event;
    if (type === "message") {
      if (this.#seen.has(id)) return;
      this.#seen.add(id);
      if (this.#seen.size > KEPT) this.#seen.delete(this.#seen.values().next().value);
    }
    if (type !== "subscribed" && type !== "unsubscribed") this.#channel.event(event);
  }
}
