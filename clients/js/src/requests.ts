// Commands that wait for their answers on the connection that there is.
//
// It knows no socket: `post` takes an encoded command.  Answers are handed on at once and not through promises,
// because what follows an answer (the messages behind a reply to `subscribe`) must find it already dealt with.
// What always holds: each command is settled exactly once, by its answer or by `drop`.

import { RinggateError } from "./errors.js";
import type { Codec, Command, GatewayEvent, Reply } from "./protocol.js";

export type Encoded = ReturnType<Codec["encode"]>;

/** What becomes of a command. */
export interface Answer {
  reply(reply: Reply): void;
  fail(error: RinggateError): void;
}

/** For commands whose answer changes nothing. */
export const IGNORED: Answer = { reply: () => undefined, fail: () => undefined };

export class Requests {
  readonly #codec: Codec;
  readonly #post: (message: Encoded) => void;
  readonly #waiting = new Map<number, Answer>();
  #last = 0;

  constructor(codec: Codec, post: (message: Encoded) => void) {
    this.#codec = codec;
    this.#post = post;
  }

  /** Number and encode a command; the id stays its own on every connection.  Throws what the encoder throws. */
  encode(command: Command): { id: number; message: Encoded } {
    const id = ++this.#last;
    return { id, message: this.#codec.encode({ ...command, id }) };
  }

  /** Send what `encode` gave. */
  start(id: number, message: Encoded, answer: Answer): void {
    this.#waiting.set(id, answer);
    this.#post(message);
  }

  /** Encode and send; only while there is a connection. */
  send(command: Command, answer: Answer): void {
    const { id, message } = this.encode(command);
    this.start(id, message, answer);
  }

  /** Hand on a `reply` or an `error`; nobody may be waiting for it any more. */
  settle(event: GatewayEvent): void {
    const answer = this.#waiting.get(event.id as number);
    this.#waiting.delete(event.id as number);
    if (!answer) return;
    if (event.type === "reply") answer.reply(event as Reply);
    else answer.fail(errorOf(event));
  }

  /** Nobody waits for the answer to this command any more. */
  forget(id: number): void {
    this.#waiting.delete(id);
  }

  /** The connection ended: break off whatever waits. */
  drop(): void {
    const broken = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const answer of broken) {
      answer.fail(new RinggateError("disconnected", "the connection ended before the answer came", true, true));
    }
  }
}

/** Return an `error` event as an exception.  After `timeout` and `internal` the command may have been carried out. */
export function errorOf(event: GatewayEvent): RinggateError {
  const code = String(event["code"]);
  const unknown = code === "timeout" || code === "internal";
  return new RinggateError(code, String(event["message"] ?? code), event["retry"] === true, unknown, event);
}
