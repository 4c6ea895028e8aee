type Listener<T> = (value: T) => void;
export declare class Emitter<Events extends object> {
    #private;
    /** Call `listener` at each such event; the function that is returned ends that. */
    on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void;
    /** For the client itself: tell everybody who listens now. */
    emit<Name extends keyof Events>(name: Name, value: Events[Name]): void;
}
/** Call what belongs to the application; what it throws is reported, and ends nothing here. */
export declare function guarded(callback: () => void): void;
export {};
