// Small things for building the page.  What always holds: text from elsewhere only ever becomes textContent.

export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className = "",
  text?: string,
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function find<Wanted extends HTMLElement = HTMLElement>(id: string): Wanted {
  return document.getElementById(id) as Wanted;
}

/** Return a function that calls `callback` at most once in `ms`, and once more behind the last of many calls. */
export function throttled<Args extends unknown[]>(ms: number, callback: (...args: Args) => void): (...args: Args) => void {
  let last: Args | null = null;
  let resting = false;
  const call = (...args: Args) => {
    if (resting) return void (last = args);
    resting = true;
    callback(...args);
    setTimeout(() => {
      resting = false;
      const again = last;
      last = null;
      if (again) call(...again);
    }, ms);
  };
  return call;
}
