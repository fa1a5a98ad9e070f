/** A device's pre-shared key changes with each certificate that it reports, by a salt that it draws. */
import { afterEach, describe, expect, it } from "vitest";
import { TEST_SCRYPT_COST } from "../../sim/node/vault/sealed.js";
import { saltedPsk, saltProof, toldSalt } from "../../test/support/host-tools/salted-psk.js";
import { provisionDevice, Scene, testKey, type TestDevice } from "../../test/support/host-tools/scene.js";
import { checkRequest } from "../pki/certificate-request.js";
import { issueOnce } from "../station/issue-once.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import type { DeviceReport, EnrolledCertificate } from "./certificate-renewal.js";

const scene = new Scene();
afterEach(() => scene.clean());

const FIRST = "5a".repeat(16);
const SECOND = "5b".repeat(16);

interface Site {
  ca: CertificateAuthority;
  device: TestDevice;
  inForce: () => Promise<Buffer | undefined>;
  /** A certificate for another key, asked for by the holder of `serial`, or by nobody who is known. */
  enrol: (serial?: string) => Promise<EnrolledCertificate>;
  report: (serial: string, salt: DeviceReport["salt"]) => Promise<unknown>;
}

async function site(): Promise<Site> {
  const ca = await scene.ca();
  const keyOf = async (serial: string): Promise<string> =>
    (await ca.list()).flatMap(({ certificates }) => certificates).find((one) => one.serial === serial)!.publicKeyHash;
  return {
    ca,
    device: await provisionDevice(ca, "dev1"),
    inForce: async () => (await ca.brokerMaterial()).pskFor("dev1"),
    enrol: async (serial) => {
      const signedBy = serial === undefined ? {} : { signedBy: await keyOf(serial) };
      return ca.issueFromCsr("dev1", (await testKey("dev1")).csr, { asker: { holderIsSilent: true, ...signedBy } });
    },
    report: async (serial, salt) => ca.retireOlder("dev1", serial, { signedBy: await keyOf(serial), ...(salt && { salt }) }),
  };
}

describe("a device's report with a salt", () => {
  it("changes the key that brokers take, and the next answer shows the device that it did", async () => {
    const { device, enrol, report, inForce } = await site();
    const first = await enrol(device.serial);
    expect(first.saltProof).toBeUndefined();
    await report(first.serial, toldSalt(device.psk, FIRST));
    expect(await inForce()).toEqual(saltedPsk(device.psk, FIRST));
    await report(first.serial, toldSalt(device.psk, FIRST));
    expect(await inForce()).toEqual(saltedPsk(device.psk, FIRST));
    const second = await enrol(first.serial);
    expect(second.saltProof).toBe(saltProof(device.psk, "authority", FIRST));
    await report(second.serial, toldSalt(device.psk, SECOND));
    expect(await inForce()).toEqual(saltedPsk(device.psk, SECOND));
    // The first report again, late: its certificate has been retired.
    await report(first.serial, toldSalt(device.psk, FIRST));
    expect(await inForce()).toEqual(saltedPsk(device.psk, SECOND));
  });

  it("is not believed without a proof by the provisioned key: the key of a certificate alone takes nobody's way back", async () => {
    const { device, enrol, report, inForce } = await site();
    const { serial } = await enrol(device.serial);
    const wrong = [
      saltProof(Buffer.alloc(32, 7), "device", FIRST),
      saltProof(saltedPsk(device.psk, FIRST), "device", FIRST),
      saltProof(device.psk, "authority", FIRST),
      saltProof(device.psk, "device", SECOND),
      "",
    ];
    for (const one of wrong) await report(serial, { text: FIRST, proof: one });
    expect(await inForce()).toEqual(device.psk);
  });

  it("changes nothing while it comes from somebody who came in without a key of the name's, and all when the owner is back", async () => {
    const { device, enrol, report, inForce } = await site();
    // A thief of the pre-shared key, who even renews.
    const stolen = await enrol();
    await report(stolen.serial, toldSalt(device.psk, FIRST));
    const renewed = await enrol(stolen.serial);
    await report(renewed.serial, toldSalt(device.psk, FIRST));
    expect(await inForce()).toEqual(device.psk);
    const back = await enrol(device.serial);
    await report(back.serial, toldSalt(device.psk, SECOND));
    expect(await inForce()).toEqual(saltedPsk(device.psk, SECOND));
  });

  it("comes after a revocation as well, and a full one or a replacement ends every key that there was", async () => {
    const { ca, device, enrol, report, inForce } = await site();
    await ca.revoke({ id: "dev1", certificateOnly: true });
    expect(await inForce()).toEqual(device.psk);
    const back = await enrol(device.serial);
    await report(back.serial, toldSalt(device.psk, FIRST));
    expect(await inForce()).toEqual(saltedPsk(device.psk, FIRST));
    await ca.revoke({ id: "dev1" });
    expect(await inForce()).toBeUndefined();
    const next = await provisionDevice(ca, "dev1", true);
    expect(next.psk).not.toEqual(device.psk);
    expect(await inForce()).toEqual(next.psk);
  });

  it("outlives another passphrase", async () => {
    const { ca, device, enrol, report, inForce } = await site();
    const { serial } = await enrol(device.serial);
    await report(serial, toldSalt(device.psk, FIRST));
    await ca.changePassphrase("another long passphrase 7", TEST_SCRYPT_COST);
    expect(await inForce()).toEqual(saltedPsk(device.psk, FIRST));
  });
});

describe("a device that is given its identity once more", () => {
  it("gets the key that it had, or another where it has gone on to salted ones", async () => {
    const { ca, device, inForce } = await site();
    const { csr } = await testKey("dev2");
    const { publicKeyHash } = await checkRequest(csr, "dev2");
    const board = await issueOnce(ca, { id: "dev2", role: "sensor" }, csr, publicKeyHash);
    const again = await issueOnce(ca, { id: "dev2", role: "sensor" }, csr, publicKeyHash);
    expect(again.psk).toEqual(board.psk);
    await ca.retireOlder("dev1", device.serial, { salt: toldSalt(device.psk, FIRST) });
    const given = await ca.pskForAgain("dev1");
    expect(given).not.toEqual(device.psk);
    expect(given).not.toEqual(saltedPsk(device.psk, FIRST));
    expect(await inForce()).toEqual(given);
    await ca.revoke({ id: "dev1" });
    expect(await ca.pskForAgain("dev1")).toBeUndefined();
  });
});
