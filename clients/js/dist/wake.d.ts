/** Call `wake` at each such event; the function that is returned ends that. */
export declare function watchWake(wake: () => void): () => void;
