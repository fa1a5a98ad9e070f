/** The roles of a CA's names and the limits of its policy, read again after the CA has changed. */
import { errorMessage } from "../../../sdk/errors.js";
import { openCaReadOnly } from "../../ca/ca-without-passphrase.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import { roleOf } from "../../policy/bound-rule.js";
import { parsePolicy } from "../../policy/policy-file.js";
import type { Policy } from "../../policy/policy-model.js";
import type { Roles, StaticLimits } from "../../monitor/profiles/behaviour-watch.js";

/** Without a CA every client is of one role, and there are no limits but learned ones. */
export const NO_ROLES: Roles & { close(): void } = {
  roleOf: () => undefined,
  limitsOf: () => ({}),
  close: () => undefined,
};

/** A fleet that enrols all day changes its CA all day: reading it takes no more than this part of the time. */
const MOST_OF_TIME = 1 / 20;

export class KnownRoles implements Roles {
  readonly #directory: string;
  readonly #stop: () => void;
  readonly #failed: (reason: string) => void;
  #roles: ReadonlyMap<string, string>;
  #policy: Policy;
  #isStale = false;
  #nextReadMs = 0;

  /**
   * Nothing is proved: whoever may write the CA's files decides what this says.
   * @param failed told when a changed CA cannot be read; what was read before stays
   * @throws HawserError as `openCaReadOnly` and `parsePolicy`
   */
  constructor(directory: string, failed: (reason: string) => void) {
    this.#directory = directory;
    this.#failed = failed;
    [this.#roles, this.#policy] = this.#read();
    this.#stop = watchCa(directory, () => (this.#isStale = true));
  }

  roleOf(name: string): string | undefined {
    if (this.#isStale && performance.now() >= this.#nextReadMs) this.#readAgain();
    return this.#roles.get(name);
  }

  limitsOf(role: string): StaticLimits {
    const { roles, limits } = this.#policy;
    // Only a device may have a role that the policy does not name.
    const known = roles.get(role) ?? roleOf(this.#policy, { kind: "device", role });
    return { messagesPerSecond: known?.limits.messagesPerSecond, packetBytes: limits.packetBytes };
  }

  close(): void {
    this.#stop();
  }

  #readAgain(): void {
    this.#isStale = false;
    try {
      [this.#roles, this.#policy] = this.#read();
    } catch (error) {
      this.#failed(errorMessage(error));
    }
  }

  #read(): [ReadonlyMap<string, string>, Policy] {
    const startedMs = performance.now();
    const view = openCaReadOnly(this.#directory, "used");
    const roles = new Map(view.find({}).first.map(({ name, role }) => [name, role]));
    const policy = parsePolicy(view.policyText(), "the policy of the CA");
    const endedMs = performance.now();
    this.#nextReadMs = endedMs + (endedMs - startedMs) / MOST_OF_TIME;
    return [roles, policy];
  }
}
