/** Source networks are blocked and let in again by a change of the CA, so that the audit trail says who did what, why and until when. */
import { HawserError } from "../../sdk/errors.js";
import { BLOCKED, blocksNow, overlaps, UNBLOCKED } from "../brokers/firewall/firewall-blocked-networks.js";
import type { Block, Network } from "../brokers/firewall/firewall-blocked-networks.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { FILES } from "../ca-directory/directory-layout.js";
import type { CaContext } from "./context.js";

const MOST_REASON = 200;

export interface WantedBlock {
  readonly network: Network;
  readonly reason: string;
  /** Undefined for good. */
  readonly forMs: number | undefined;
}

export type BlockChange = WantedBlock | { readonly unblock: Network };

/**
 * @returns the blocks after the change
 * @throws HawserError `NETWORK_BLOCKED` for one that overlaps a blocked one, `NETWORK_NOT_BLOCKED`, and those of every change
 */
export function changeBlocks(ca: CaContext, change: BlockChange): Promise<readonly Block[]> {
  return "unblock" in change ? unblockNetwork(ca, change.unblock) : blockNetwork(ca, change);
}

function blockNetwork(ca: CaContext, { network, reason, forMs }: WantedBlock): Promise<readonly Block[]> {
  return ca.store.change((draft) => {
    const blocks = blocksNow(ca.directory.readUnprovedText(FILES.audit), draft.nowMs);
    const other = blocks.find((block) => overlaps(block.network, network));
    if (other !== undefined)
      throw new HawserError(
        "NETWORK_BLOCKED",
        `${network.text} overlaps ${other.network.text}, which is blocked${other.untilMs === undefined ? "" : ` until ${new Date(other.untilMs).toISOString()}`}`,
        `Unblock that one first: hawser broker unblock --network ${other.network.text}`,
      );
    const untilMs = forMs === undefined ? undefined : draft.nowMs + forMs;
    const why = reason.slice(0, MOST_REASON);
    const until = untilMs === undefined ? {} : { until: new Date(untilMs).toISOString() };
    draft.record({ event: BLOCKED, network: network.text, reason: why, ...until });
    return [...blocks, { network, reason: why, untilMs }];
  });
}

function unblockNetwork(ca: CaContext, network: Network): Promise<readonly Block[]> {
  return ca.store.change((draft) => {
    const blocks = blocksNow(ca.directory.readUnprovedText(FILES.audit), draft.nowMs);
    const left = blocks.filter((block) => block.network.text !== network.text);
    if (left.length === blocks.length)
      throw new HawserError("NETWORK_NOT_BLOCKED", `${network.text} is not blocked`, "Run `hawser broker blocks` for those that are.");
    draft.record({ event: UNBLOCKED, network: network.text });
    return left;
  });
}

/**
 * What is blocked now, by the trail of a CA. Nothing is proved: whoever may write the CA's files decides what this says.
 * @throws HawserError `NOT_A_CA`, `CA_CORRUPT`
 */
export function blocksIn(directory: string, nowMs: number): readonly Block[] {
  return blocksNow(new CaDirectory(directory).readUnprovedText(FILES.audit), nowMs);
}
