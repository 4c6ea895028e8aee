// Typed events: any number of listeners for each name.
//
// What always holds: a listener that throws harms neither the others nor the client; its exception is reported
// as an uncaught one.  A listener that is removed while an event is being told is not told any more.

type Listener<T> = (value: T) => void;

export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** Call `listener` at each such event; the function that is returned ends that. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    const own: Listener<Events[Name]> = (value) => listener(value); // the same function twice is two listeners
    let listeners = this.#listeners.get(name);
    if (!listeners) this.#listeners.set(name, (listeners = new Set()));
    listeners.add(own);
    return () => void listeners.delete(own);
  }

  /** For the client itself: tell everybody who listens now. */
  emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])] as Listener<Events[Name]>[]) {
      if (this.#listeners.get(name)!.has(listener)) guarded(() => listener(value));
    }
  }
}

/** Call what belongs to the application; what it throws is reported, and ends nothing here. */
export function guarded(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}
