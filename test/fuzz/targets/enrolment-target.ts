/** The messages of enrolment, read by both sides: an answer by a device that waits for it, a request by the authority. */
import { readMessage } from "../../../host-tools/authority/enrolment-messages.js";
import { readAnswer } from "../../../sdk/identity/enrolment.js";
import { IdentityStore, installIdentity } from "../../../sdk/identity/store.js";
import type { KeyStore } from "../../../sdk/platform.js";
import { MemoryStorage } from "../../support/mqtt/memory-storage.js";
import { PowerSupply } from "../../../sim/virtual/power/power-supply.js";
import { VirtualKeys } from "../../../sim/virtual/power/key-store.js";
import { jsonBend } from "../json-bend.js";
import { promise, type Target } from "../fuzz-target.js";

export const enrolment: Target = {
  name: "enrolment",
  inputs: 150_000,
  maximumBytes: 9_000,
  bend: jsonBend,
  async open() {
    const keyStore = new VirtualKeys("dev-1").open(new PowerSupply());
    const waiting = new MemoryStorage();
    installIdentity(waiting, keyStore, { id: "dev-1", role: "sensor", trustAnchors: [] });
    IdentityStore.load(waiting, keyStore).beginEnrolment();
    return (input) => {
      const request = readMessage(input);
      promise(request.type !== "enrol" || request.csr.length > 0, "the authority reads a request without a CSR");
      return answered(waiting.afterReboot(), keyStore, input);
    };
  },
};

function answered(storage: MemoryStorage, keyStore: KeyStore, input: Uint8Array): string {
  const answer = readAnswer(input);
  promise(typeof answer.requestId === "string", "the requestId is no string");
  if ("error" in answer) {
    const { code, message, retryAfterSeconds = 0 } = answer.error;
    promise(
      typeof code === "string" && code.length <= 40 && typeof message === "string" && message.length <= 200,
      "an error without bounds",
    );
    promise(retryAfterSeconds >= 0 && retryAfterSeconds <= 86_400, `retry after ${retryAfterSeconds} seconds`);
    return "refused";
  }
  const store = IdentityStore.load(storage, keyStore);
  const pending = store.storePending(answer.chain, { leadsTo: () => true }, undefined, undefined, answer.topics);
  promise(pending.certificate.commonName === "dev-1", "a certificate for somebody else is pending");
  promise(
    IdentityStore.load(storage, keyStore).pending?.certificate.serial === pending.certificate.serial,
    "what was stored is not what is read",
  );
  store.show("pending");
  store.commit();
  for (const base of [store.base, store.identityBase])
    promise(base !== "" && !/[+#\0]|^\$|\/$/.test(base) && base.length <= 512, "topics where no device can be");
  return "ok";
}
