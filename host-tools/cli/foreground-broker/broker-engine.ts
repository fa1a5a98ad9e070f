/** What `hawser broker run` needs of a broker, whichever it is. */
import type { HawserError } from "../../../sdk/errors.js";

export interface BrokerEngine {
  readonly mtlsPort: number;
  readonly pskPort: number;
  /** Something the operator should know. */
  readonly note?: string;
  /** Takes over what changed in the CA directory. Goes on with what it had when this rejects. */
  reload(): Promise<void>;
  stop(): Promise<void>;
  /** Resolves when the broker ended by itself. */
  readonly died: Promise<HawserError>;
}
