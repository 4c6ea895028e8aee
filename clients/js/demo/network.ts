// A network that can be cut by a button: sockets that behave as if the cable were out.
//
// What always holds: while it is cut nothing passes, and the client sees what it would see then: its connection ends
// without a close frame, and so does every attempt.

const DEAD_MS = 300;

let cut = false;
const alive = new Set<CuttableSocket>();

export class CuttableSocket {
  binaryType: BinaryType = "blob";
  onopen: (() => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly #socket: WebSocket | undefined;

  constructor(url: string, protocols: string[]) {
    alive.add(this);
    if (cut) {
      setTimeout(() => this.end(1006, ""), DEAD_MS);
      return;
    }
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => {
      socket.binaryType = this.binaryType;
      this.onopen?.();
    };
    socket.onmessage = (event) => this.onmessage?.(event);
    socket.onclose = ({ code, reason }) => this.end(code, reason);
    this.#socket = socket;
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  close(): void {
    alive.delete(this);
    this.#socket?.close();
  }

  end(code: number, reason: string): void {
    if (!alive.delete(this)) return;
    if (this.#socket) this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    this.onclose?.({ code, reason });
  }
}

export function cutNetwork(now: boolean): void {
  cut = now;
  if (cut) for (const socket of [...alive]) socket.end(1006, "");
}
