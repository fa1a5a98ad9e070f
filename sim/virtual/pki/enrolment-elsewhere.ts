/** How devices have their certificates issued that ask by a way that leads through no broker, as by EST. */
import { base64Encode } from "../../../sdk/encoding/text.js";
import { HawserError } from "../../../sdk/errors.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { enrolmentMessage, readAnswer } from "../../../sdk/identity/enrolment.js";
import type { Enrolment } from "../../../sdk/identity/enrolment-port.js";
import type { Platform } from "../../../sdk/platform.js";
import type { VirtualAuthority } from "./virtual-authority.js";

/** The authority of this world answers: as late as it is slow, not at all while it is down, and with what is wrong with it. */
export function enrolmentElsewhere(
  id: string,
  authority: VirtualAuthority,
  { keyStore, network, scheduler }: Pick<Platform, "keyStore" | "network" | "scheduler">,
): Enrolment {
  return {
    request: (csr, current) =>
      new Promise((resolve, reject) => {
        if (network?.isUp === false) return reject(new HawserError("HOST_UNREACHABLE", "the device is on no network"));
        if (authority.mood.down) return;
        const leaf = current?.chain[0];
        const holder = current && leaf && { keySlot: current.keySlot, certificate: readCertificate(leaf) };
        const request = { type: "enrol", requestId: "elsewhere", csr: base64Encode(csr) } as const;
        const [said = new Uint8Array()] = authority.handle(id, enrolmentMessage(request, keyStore, holder));
        scheduler.after(authority.mood.delayMs, () => {
          try {
            const answer = readAnswer(said);
            resolve("error" in answer ? { error: answer.error } : { chain: answer.chain });
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        });
      }),
  };
}
