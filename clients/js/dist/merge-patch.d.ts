export type Json = null | boolean | number | string | readonly Json[] | {
    readonly [name: string]: Json;
};
/** Return `target` with `patch` applied (RFC 7396 section 2). */
export declare function merge(target: Json | undefined, patch: Json): Json;
/** Return the patch that makes `after` of `before`; undefined where they are the same. */
export declare function difference(before: Json, after: Json): Json | undefined;
/** Return one patch that does what `first` and then `second` do; undefined where there is none. */
export declare function compose(first: Json, second: Json): Json | undefined;
/** Return the paths that both patches touch, as lists of names; of a subtree that one replaces its root. */
export declare function overlap(a: Json, b: Json, path?: readonly string[]): string[][];
export declare function same(a: Json, b: Json): boolean;
