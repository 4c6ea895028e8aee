import type { Client } from "./client.js";
import { type Labels } from "./toast.js";
export { LABELS, type Labels } from "./toast.js";
declare const Base: typeof HTMLElement;
export declare class RinggateStatus extends Base {
    #private;
    /** Whose status is shown. */
    get client(): Client | null;
    set client(client: Client | null);
    /** The words; give some or all of LABELS in another language. */
    get labels(): Labels;
    set labels(labels: Partial<Labels>);
    connectedCallback(): void;
    disconnectedCallback(): void;
}
declare global {
    interface HTMLElementTagNameMap {
        "ringgate-status": RinggateStatus;
    }
}
