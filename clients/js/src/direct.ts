// What app services send to this user (the channel @ and the user's name) or to this client (@# and its id).
//
// The gateway subscribes every connection to both by itself, from `hello` on.  Where somebody listens, the user's
// channel is subscribed to all the same: from then on its position is known, and after a break what was missed
// comes first.  What always holds: each message of the user's channel is handed on once, in order; what comes
// before the answer to a position is not handed on, since it comes again behind it.

import { Channel, type Subscription, type Surroundings } from "./channel.js";
import type { GatewayEvent } from "./protocol.js";

export class Direct {
  readonly #channel: Channel;
  readonly #handle: Subscription;
  #wanted = false;

  constructor(around: Surroundings) {
    this.#channel = new Channel("@", around);
    this.#handle = this.#channel.join({});
  }

  /** Return the handle through which it is heard. */
  listen(): Subscription {
    if (!this.#wanted) {
      this.#wanted = true;
      if (this.#channel.around.online()) this.#ask();
    }
    return this.#handle;
  }

  /** The gateway said hello to this user, or to nobody in particular. */
  open(user: string | undefined): void {
    const name = `@${user ?? ""}`;
    if (name !== this.#channel.name) this.#channel.position = null;
    this.#channel.name = name;
    if (this.#wanted) this.#ask();
  }

  down(): void {
    this.#channel.down();
  }

  event(event: GatewayEvent): void {
    const channel = this.#channel;
    if (event.type === "subscribed" || event.type === "unsubscribed") return;
    const { live } = channel;
    channel.live ||= event.channel !== channel.name || !channel.position;
    channel.event(event);
    channel.live = live;
  }

  #ask(): void {
    if (this.#channel.name !== "@") this.#channel.subscribe();
  }
}
