// JSON Merge Patch (RFC 7396): applying, comparing, composing.  Pure functions over what JSON can hold.
//
// What always holds: values are never changed in place, so whatever a patch leaves alone stays the same object; and
// a member called "__proto__" is a member like any other.

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
type Members = { readonly [name: string]: Json };

/** Return `target` with `patch` applied (RFC 7396 section 2). */
export function merge(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const members = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name);
    else members.set(name, merge(members.get(name), value));
  }
  return Object.fromEntries(members);
}

/** Return the patch that makes `after` of `before`; undefined where they are the same. */
export function difference(before: Json, after: Json): Json | undefined {
  if (!isObject(before) || !isObject(after)) return same(before, after) ? undefined : after;
  const members = new Map<string, Json>();
  for (const name of Object.keys(before)) if (!Object.hasOwn(after, name)) members.set(name, null);
  for (const [name, value] of Object.entries(after)) {
    const change = Object.hasOwn(before, name) ? difference(before[name]!, value) : value;
    if (change !== undefined) members.set(name, change);
  }
  return members.size ? Object.fromEntries(members) : undefined;
}

/** Return one patch that does what `first` and then `second` do; undefined where there is none. */
export function compose(first: Json, second: Json): Json | undefined {
  if (!isObject(second)) return second;
  if (!isObject(first)) return undefined; // "replace, then change" cannot be said in one
  const members = new Map(Object.entries(first));
  for (const [name, value] of Object.entries(second)) {
    const both = members.has(name) ? compose(members.get(name)!, value) : value;
    if (both === undefined) return undefined;
    members.set(name, both);
  }
  return Object.fromEntries(members);
}

/** Return the paths that both patches touch, as lists of names; of a subtree that one replaces its root. */
export function overlap(a: Json, b: Json, path: readonly string[] = []): string[][] {
  if (!isObject(a) || !isObject(b)) return [[...path]];
  return Object.keys(a)
    .filter((name) => Object.hasOwn(b, name))
    .flatMap((name) => overlap(a[name]!, b[name]!, [...path, name]));
}

export function same(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, i) => same(value, b[i]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && same(a[name]!, b[name]!));
}

function isObject(value: Json | undefined): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
