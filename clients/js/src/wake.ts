// When it is worth trying at once: the device came back online, or the page is looked at again.
//
// In Node none of these events exists, and nothing is ever told.  In workers only `online` does.

/** Call `wake` at each such event; the function that is returned ends that. */
export function watchWake(wake: () => void): () => void {
  const page = (globalThis as { document?: Document }).document;
  const shown = () => page!.visibilityState === "visible" && wake();
  const watched: [EventTarget | undefined, string, () => void][] = [
    [globalThis as unknown as EventTarget, "online", wake],
    [globalThis as unknown as EventTarget, "pageshow", wake],
    [page, "visibilitychange", shown],
    [page, "resume", wake], // of the Page Lifecycle API: the tab was frozen
  ];
  const able = watched.filter(([target]) => typeof target?.addEventListener === "function");
  for (const [target, name, listener] of able) target!.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of able) target!.removeEventListener(name, listener);
  };
}
