// One subscription at the gateway, and the handles through which any number of listeners share it.
//
// It knows no socket: it sends through `Requests`.  What always holds: a listener gets the publications of a
// channel in the order of their offsets, each at most once; what is missing is told (`lost`) before anything that
// came after it; nothing comes after `ended`, or to a handle that was closed.

import { delayMs, RETRY } from "./backoff.js";
import { Emitter } from "./emitter.js";
import { retriable, RinggateError } from "./errors.js";
import { Presence } from "./presence.js";
import type { GatewayEvent, Member, Message, Position } from "./protocol.js";
import { IGNORED, type Requests } from "./requests.js";

export interface SubscriptionEvents {
  message: Message;
  /** The gateway's answer; `resumed`: everything that was missed follows. */
  subscribed: { resumed: boolean };
  /** Messages are missing: they were not kept (`resume`), or dropped (`slow`, `lost`), from one offset to another. */
  lost: { reason: string; from?: number; to?: number };
  join: Member;
  leave: Member;
  /** The member list, each time it has changed (with `presence: true`). */
  members: ReadonlyMap<string, Member>;
  /** The subscription is over, and not because of `close`. */
  ended: RinggateError;
  /** Every other event of the channel. */
  event: GatewayEvent;
}

export interface SubscribeOptions {
  /** Keep a member list. */
  presence?: boolean;
  /** Begin behind this position, and not with what comes from now on. */
  since?: Position;
  /** A token for this channel, or a function that gets one, for namespaces that ask for it. */
  token?: string | (() => string | Promise<string>);
  /** It is a state channel, read by `ringgate/state`: it begins with a `state` and goes on with every `patch`. */
  state?: boolean;
  /** After a break go on with what is new (false), and not with what was missed (true, the default). */
  resume?: boolean;
}

/** Where a subscription stands, as the gateway says it. */
export interface Stand extends Omit<Position, "id"> {
  recovered?: boolean;
}

/** A listener's hold on a channel. */
export class Subscription extends Emitter<SubscriptionEvents> {
  readonly #channel: Channel;

  constructor(channel: Channel) {
    super();
    this.#channel = channel;
  }

  get channel(): string {
    return this.#channel.name;
  }

  /** The gateway has confirmed it on the present connection. */
  get active(): boolean {
    return this.#channel.live;
  }

  /** Up to where messages were delivered; keep it to go on there after the page was loaded anew. */
  get position(): Position | null {
    const { position } = this.#channel;
    return position && { ...position };
  }

  /** Who is subscribed, by client id; empty without `presence: true`. */
  get members(): ReadonlyMap<string, Member> {
    return this.#channel.presence.members;
  }

  /** Hear nothing more.  The last handle of a channel ends the subscription at the gateway. */
  close(): void {
    this.#channel.leave(this);
  }
}

/** What a channel needs of its surroundings. */
export interface Surroundings {
  requests: Requests;
  online(): boolean;
  /** The ids of this client on earlier connections: what is not for one of them is not for this one. */
  earlier(): string[];
  random: () => number;
  /** Nobody holds the channel any more, or it ended. */
  gone(channel: Channel): void;
}

export class Channel {
  readonly handles = new Set<Subscription>();
  readonly presence: Presence;
  position: Position | null = null;
  live = false;
  /** An app service made it: it can be taken up again only with the session. */
  byService = false;
  #wantsMembers = false;
  #resumes = false;
  #begun = false;
  #hasState = false;
  #token: SubscribeOptions["token"];
  #attempts = 0;
  #mark: string | undefined;
  #asked = 0; // counts subscribe commands: only the last one's answer matters
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    public name: string,
    readonly around: Surroundings,
  ) {
    this.presence = new Presence({
      joined: (member) => this.#tell("join", member),
      left: (member) => this.#tell("leave", member),
      changed: (members) => this.#tell("members", members),
    });
  }

  /** Return a new handle; the first one decides where to begin. */
  join({ presence = false, since, token, resume = true, state = false }: SubscribeOptions): Subscription {
    const handle = new Subscription(this);
    if (since && !this.handles.size) this.position = { ...since };
    this.handles.add(handle);
    this.#resumes ||= resume;
    if (state && !this.#hasState) this.#toState();
    this.#token ??= token;
    if (presence && !this.#wantsMembers) {
      this.#wantsMembers = true;
      if (this.live) this.#askMembers();
    }
    return handle;
  }

  /** A copy of the state is wanted, of a channel that was only listened to: it has to begin with a `state`. */
  #toState(): void {
    this.#hasState = true;
    this.position = null;
    if (this.live) this.#again();
  }

  leave(handle: Subscription): void {
    if (!this.handles.delete(handle) || this.handles.size) return;
    if (this.around.online()) this.around.requests.send({ type: "unsubscribe", channel: this.name }, IGNORED);
    this.#over();
  }

  /** Where to resume; null: from now on. */
  get since(): Position | null {
    return this.#resumes || !this.#begun ? this.position : null;
  }

  /** Return a position as it is named to the gateway. */
  sinceWith(position: Position): Position & { clients?: string[] } {
    const clients = this.around.earlier();
    return clients.length ? { ...position, clients } : position;
  }

  /** Ask the gateway for it. */
  subscribe(): void {
    const asked = ++this.#asked;
    const current = () => asked === this.#asked && this.handles.size > 0;
    if (typeof this.#token !== "function") return this.#ask(this.#token, current);
    const refused = (error: unknown) => current() && this.#failed(new RinggateError("unavailable", String(error)));
    new Promise<string>((resolve) => resolve((this.#token as () => string)())).then(
      (token) => current() && this.#ask(token, current),
      refused,
    );
  }

  #ask(token: string | undefined, current: () => boolean): void {
    const { since } = this;
    this.around.requests.send(
      { type: "subscribe", channel: this.name, ...(since && { since: this.sinceWith(since) }), ...(token && { token }) },
      {
        reply: (reply) => current() && this.confirmed(reply, since),
        fail: (error) => current() && this.#failed(error),
      },
    );
  }

  /** It stands at the gateway: by a `reply`, `subscribed`, or with the session. */
  confirmed(answer: Stand, since: Position | null): void {
    const resumed = since !== null && answer.recovered === true;
    this.#attempts = 0;
    this.#asked += 1;
    this.live = this.#begun = true;
    // That of a state channel stands with the `state` that follows.
    this.#mark = answer.mark ?? this.#mark;
    if (!resumed) this.position = this.#hasState ? null : this.#at(answer.epoch, answer.offset);
    else if (this.position && this.#mark) this.position.mark = this.#mark;
    if (since && !resumed) this.#tell("lost", { reason: "resume" });
    this.#tell("subscribed", { resumed });
    if (this.#wantsMembers && this.live) this.#askMembers();
  }

  /** The connection ended. */
  down(): void {
    this.live = false;
    this.#asked += 1;
    clearTimeout(this.#retry);
  }

  event(event: GatewayEvent): void {
    if (event.type === "subscribed") return this.#subscribed(event as unknown as Stand);
    if (event.type === "unsubscribed") return this.#ended(String(event["code"]));
    if (!this.live) return; // of a subscription that was ended before
    if (event.type === "message") return this.#message(event as unknown as Message);
    if (event.type === "gap") return this.#gap(event);
    if (event.type === "join" || event.type === "leave") return this.#presence(event);
    if (!this.#hasState || this.#versioned(event)) this.#tell("event", event);
  }

  /** An app service or the token made the subscription, which knows nothing of where this client stood. */
  #subscribed(stand: Stand): void {
    const { position } = this;
    if (!position || !this.#begun || !this.#resumes || this.#hasState) return this.confirmed(stand, null);
    const recovered = stand.epoch === position.epoch && stand.offset === position.offset;
    if (recovered || this.byService) return this.confirmed({ ...stand, recovered }, position);
    this.#again();
  }

  /** Subscribe anew, from where this client stands. */
  #again(): void {
    this.live = false;
    this.around.requests.send({ type: "unsubscribe", channel: this.name }, IGNORED);
    this.subscribe();
  }

  #message(message: Message): void {
    const { offset } = message;
    if (offset !== undefined && this.position) {
      if (offset <= this.position.offset) return; // it was delivered already
      Object.assign(this.position, { offset, id: message.id });
    }
    this.#tell("message", message);
  }

  /** Tell whether a `state` or a `patch` is the next one; a patch behind a hole is not, for a `state` will follow. */
  #versioned({ type, version, epoch, id }: GatewayEvent): boolean {
    if (type === "state") this.position = this.#at(epoch, version);
    else if (type === "patch") {
      if (version !== (this.position ?? { offset: NaN }).offset + 1) return false;
      Object.assign(this.position!, { offset: version, id });
    }
    return true;
  }

  /** A position of which no message is known. */
  #at(epoch: unknown, offset: unknown): Position {
    return { epoch, offset, ...(this.#mark && { mark: this.#mark }) } as Position;
  }

  #gap(event: GatewayEvent): void {
    if (this.#hasState) return void (this.position = null); // what was lost may be of another life: a state follows
    const { from, to, epoch, reason } = event as { from?: number; to?: number; epoch?: string; reason?: string };
    if (epoch !== undefined) this.position = this.#at(epoch, to ?? 0);
    else if (to !== undefined && this.position && to > this.position.offset) this.position = this.#at(this.position.epoch, to);
    this.#tell("lost", { reason: reason ?? "lost", ...(from !== undefined && { from }), ...(to !== undefined && { to }) });
  }

  #presence(event: GatewayEvent): void {
    if (this.#wantsMembers) return this.presence.change(event);
    const { type, channel: _, ...member } = event;
    this.#tell(type as "join" | "leave", member as unknown as Member);
  }

  #askMembers(): void {
    this.presence.asked();
    this.around.requests.send(
      { type: "presence", channel: this.name },
      {
        reply: ({ members }) => this.presence.answered(members),
        fail: () => this.presence.answered(),
      },
    );
  }

  /** The gateway ended it. Where tokens for it are fetched, another may be had. */
  #ended(code: string): void {
    if (code !== "token_expired" || typeof this.#token !== "function") return this.#failed(new RinggateError(code));
    this.live = false;
    this.subscribe();
  }

  #failed(error: RinggateError): void {
    if (error.code === "disconnected" || (error.code === "already_subscribed" && this.live)) return;
    this.live = false;
    if (error.retry || retriable(error.code)) {
      const delay = RETRY.first / 2 + delayMs(this.#attempts++, RETRY, this.around.random);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.subscribe(), delay);
      return;
    }
    this.#tell("ended", error);
    this.handles.clear();
    this.#over();
  }

  #over(): void {
    this.down();
    this.around.gone(this);
  }

  #tell<Name extends keyof SubscriptionEvents>(name: Name, value: SubscriptionEvents[Name]): void {
    for (const handle of [...this.handles]) if (this.handles.has(handle)) handle.emit(name, value);
  }
}
