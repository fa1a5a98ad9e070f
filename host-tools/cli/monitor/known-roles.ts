/** The roles of a CA's names and the limits of its policy, read again whenever the CA changes. */
import { errorMessage } from "../../../sdk/errors.js";
import { openCaReadOnly } from "../../ca/read-only.js";
import { watchCa } from "../../ca-directory/ca-watch.js";
import { parsePolicy } from "../../policy/policy-file.js";
import type { NameDirectory, Policy } from "../../policy/policy-model.js";
import type { Roles, StaticLimits } from "../../monitor/profiles/behaviour-watch.js";

/** Without a CA every client is of one role, and there are no limits but learned ones. */
export const NO_ROLES: Roles & { close(): void } = {
  roleOf: () => undefined,
  limitsOf: () => ({}),
  close: () => undefined,
};

export class KnownRoles implements Roles {
  readonly #directory: string;
  readonly #stop: () => void;
  readonly #failed: (reason: string) => void;
  #names: NameDirectory;
  #policy: Policy;

  /**
   * Nothing is proved: whoever may write the CA's files decides what this says.
   * @param failed told when a changed CA cannot be read; what was read before stays
   * @throws HawserError as `openCaReadOnly` and `parsePolicy`
   */
  constructor(directory: string, failed: (reason: string) => void) {
    this.#directory = directory;
    this.#failed = failed;
    [this.#names, this.#policy] = this.#read();
    this.#stop = watchCa(directory, () => this.#readAgain());
  }

  roleOf(name: string): string | undefined {
    return this.#names.get(name)?.role;
  }

  limitsOf(role: string): StaticLimits {
    return {
      messagesPerSecond: this.#policy.roles.get(role)?.limits.messagesPerSecond,
      packetBytes: this.#policy.limits.packetBytes,
    };
  }

  close(): void {
    this.#stop();
  }

  #readAgain(): void {
    try {
      [this.#names, this.#policy] = this.#read();
    } catch (error) {
      this.#failed(errorMessage(error));
    }
  }

  #read(): [NameDirectory, Policy] {
    const view = openCaReadOnly(this.#directory, "used");
    return [view.names(), parsePolicy(view.policyText(), "the policy of the CA")];
  }
}
