/** What the authorities of one CA are called where several of them serve one broker. */
import { machineOf } from "../ca-directory/log-replica.js";
import { subkey } from "../ca-directory/sealed-state.js";
import type { CaContext } from "./context.js";
import { AUTHORITY_NAME } from "./reserved-names.js";
import { notShared } from "./shared-registry.js";

export interface SharedNames {
  /** Hears what devices report and object. */
  readonly reports: string;
  /** Takes its share of the requests. Another name: brokers that go by names take it for the client id, of which each may connect once. */
  readonly requests: string;
  /**
   * Of the shared subscription. mosquitto lets every client join every group, and what it gives to one who may not read it is lost: only
   * who can open the CA knows this one.
   */
  readonly group: string;
}

const MACHINE_DIGITS = 8;
const GROUP_DIGITS = 32;

/** @throws HawserError `REGISTRY_NOT_FOUND` (the registry is not shared), `REGISTRY_UNKNOWN`, `CA_COPIED` */
export function sharedNames({ directory, store, keys }: Pick<CaContext, "directory" | "store" | "keys">): SharedNames {
  if (store.files.state.log === undefined) throw notShared(directory);
  const reports = `${AUTHORITY_NAME}-${machineOf(directory).slice(0, MACHINE_DIGITS)}`;
  const group = `hawser-${subkey(keys.sealing, "group of authorities").toString("hex").slice(0, GROUP_DIGITS)}`;
  return { reports, requests: `${reports}-requests`, group };
}
