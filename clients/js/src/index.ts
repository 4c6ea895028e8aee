// The package `ringgate`: a client of the Ringgate gateway for browsers, Node and workers.

export { Client } from "./client.js";
export type {
  CallOptions,
  ClientEvents,
  ClientOptions,
  History,
  HistoryOptions,
  PublishOptions,
} from "./client.js";
export type { SubscribeOptions, Subscription, SubscriptionEvents } from "./channel.js";
export type { TokenSource } from "./credentials.js";
export { type ErrorCode, type LocalCode, RinggateError } from "./errors.js";
export { CLOSE_CODES, ERROR_CODES, type ServerCode } from "./codes.js";
export { json } from "./json.js";
export { DEFAULTS } from "./options.js";
export type { Status } from "./status.js";
export type {
  Codec,
  Command,
  GatewayEvent,
  Member,
  Message,
  Position,
  Publication,
  Reply,
  Sender,
} from "./protocol.js";
