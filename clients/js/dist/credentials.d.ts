/** A token, or how to get one: `null` means that there is none to be had, and that the client should stop. */
export type TokenSource = string | (() => string | null | Promise<string | null>);
export declare class Credentials {
    #private;
    constructor(source: TokenSource | undefined);
    /** Return a token; `undefined`: none is used; `null`: none is to be had.  Throws what the callback throws. */
    get(renew?: boolean): Promise<string | null | undefined>;
    /** Tell whether `get` needs the application at all. */
    get asks(): boolean;
    /** The gateway took the token, which ends at `expires` (seconds since 1970); `renew` is called before that. */
    accepted(expires: number | undefined, renew: () => void): void;
    /** The gateway did not take it.  Return whether another one may help. */
    refused(): boolean;
    /** There is no connection any more that would have to be renewed. */
    rest(): void;
}
