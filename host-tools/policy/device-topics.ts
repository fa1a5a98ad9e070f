/** What a device is told with its identity: where the policy has its topics. */
import { readTopics } from "../../sdk/identity/device-topics.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import { attributeOf, roleOf } from "./bound-rule.js";
import { identityBasesFor } from "./identity-topics.js";
import type { Policy, Principal } from "./policy-model.js";
import { fillTemplate } from "./topic-template.js";

/**
 * Where the topics of a device are; of several identity bases the first in the policy. Undefined where there is nothing to tell: it asks
 * nowhere for certificates, or lacks an attribute that its base needs.
 */
export function deviceTopics(policy: Policy, device: Principal): DeviceTopics | undefined {
  const deviceClass = policy.classes.get(roleOf(policy, device)?.className ?? "");
  const base = deviceClass && fillTemplate(deviceClass.baseLevels, (name) => attributeOf(policy, device, name));
  const identity = identityBasesFor(policy, device)[0]?.replace("{id}", device.name);
  return readTopics({ base, identity });
}
