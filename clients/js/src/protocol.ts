// The protocol's commands and events as types: docs/protocol.md.  No code.

export type Payload = unknown;

export interface Position {
  epoch: string;
  offset: number;
  /** Of the message there, where it was heard; with `mark` it says which count the position is of. */
  id?: string;
  /** As the gateway answered it. */
  mark?: string;
}

export interface Sender {
  client: string;
  user?: string;
}

/** Who is subscribed to a channel. */
export interface Member extends Sender {
  info?: unknown;
}

export interface Command {
  type: string;
  id?: number;
  channel?: string;
  data?: Payload;
  [field: string]: unknown;
}

/** A publication: `data` is any JSON value, or a Uint8Array if bytes were published. */
export interface Publication {
  offset?: number;
  id: string;
  data: Payload;
  from?: Sender;
  /** When it was published, in milliseconds since 1970. */
  time: number;
}

export interface Message extends Publication {
  channel: string;
}

/** Any event, as the codecs give it: only `type` is certain. */
export interface GatewayEvent {
  type: string;
  id?: number | string;
  channel?: string;
  [field: string]: unknown;
}

/** A `reply`, with the fields that commands of this client use. */
export interface Reply extends GatewayEvent {
  id: number;
  epoch: string;
  offset: number;
  recovered?: boolean;
  duplicate?: boolean;
  session?: string;
  expires?: number;
  members?: Member[];
  publications?: Publication[];
  complete?: boolean;
  subscriptions?: (Omit<Position, "id"> & { channel: string; recovered?: boolean })[];
}

/** How commands become WebSocket messages, and these events; one object for each encoding. */
export interface Codec {
  /** The WebSocket subprotocol. */
  readonly protocol: string;
  encode(command: Command): string | Uint8Array<ArrayBuffer>;
  /** Throws if it is not an event of this encoding. */
  decode(data: string | ArrayBuffer): GatewayEvent;
}
