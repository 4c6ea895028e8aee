/** Return 128 random bits in hexadecimal. */
export declare function randomKey(): string;
