/** What a change owes to the brokers, and what the registry remembers of a name's past. */
import { afterEach, describe, expect, it } from "vitest";
import { expiredSince, lostSessions, oweAlso } from "../ca-directory/sessions-to-end.js";
import type { CertificateRecord, RegistryEntry } from "../ca-directory/registry-entry.js";
import { provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";

const scene = new Scene();
afterEach(() => scene.clean());

const certificate = (serial: string, status: CertificateRecord["status"] = "active", notAfterMs = 1_000): CertificateRecord => ({
  serial,
  status,
  notBeforeMs: 0,
  notAfterMs,
  publicKeyHash: "",
});
const device = (changes: Partial<RegistryEntry> = {}): RegistryEntry => ({
  v: 1,
  kind: "device",
  name: "dev1",
  role: "sensor",
  state: "active",
  createdAtMs: 0,
  certificates: [certificate("1")],
  psk: "old",
  ...changes,
});
const lost = (was: RegistryEntry, is?: RegistryEntry): unknown =>
  lostSessions(new Map([[was.name, was]]), new Map([[was.name, is && { entry: is, digest: "" }]]));

describe("the sessions that a change ends", () => {
  it("are none when nothing was lost", () => {
    expect(lost(device(), device({ certificates: [certificate("1"), certificate("2")] }))).toEqual([]);
  });

  it("are those on the mTLS port when a device retires a certificate, and do not cost it its rights meanwhile", () => {
    expect(
      lost(
        device({ certificates: [certificate("1"), certificate("2")] }),
        device({ certificates: [certificate("1", "superseded"), certificate("2")] }),
      ),
    ).toEqual([{ userName: "dev1", hold: "never" }]);
  });

  it("are those on both ports when a device is replaced, and it waits for the proof", () => {
    const is = device({ state: "reserved", certificates: [certificate("1", "superseded"), certificate("2")], psk: "new" });
    expect(lost(device(), is)).toEqual([
      { userName: "dev1", hold: "now" },
      { userName: "dev1~recovery", hold: "now" },
    ]);
  });

  it("leave the recovery session alone when the certificate alone is revoked", () => {
    expect(lost(device(), device({ state: "certificate-revoked", certificates: [certificate("1", "revoked")] }))).toEqual([
      { userName: "dev1", hold: "later" },
    ]);
  });

  it("are all of a name that is gone or shut out", () => {
    const all = [
      { userName: "dev1", hold: "later" },
      { userName: "dev1~recovery", hold: "later" },
    ];
    expect(lost(device())).toEqual(all);
    const { psk: _psk, ...rest } = device({ state: "revoked", certificates: [certificate("1", "revoked")] });
    expect(lost(device(), rest)).toEqual(all);
  });

  it("are those of certificates that expired since the last time", () => {
    const names = [device()];
    expect([expiredSince(names, 0, 999), expiredSince(names, 0, 1_000), expiredSince(names, 1_000, 5_000)]).toEqual([
      [],
      [{ userName: "dev1", hold: "never" }],
      [],
    ]);
  });

  it("count once for a name, with the stricter hold", () => {
    expect(
      oweAlso(
        [{ userName: "a", hold: "never" }],
        [
          { userName: "a", hold: "now" },
          { userName: "a", hold: "later" },
        ],
      ),
    ).toEqual([{ userName: "a", hold: "now" }]);
  });
});

describe("a request for a certificate", () => {
  it("is not served when the name lost a certificate after it came", async () => {
    let nowMs = Date.now();
    const ca = await scene.ca({}, { now: () => nowMs });
    await provisionDevice(ca, "dev1");
    const { csr } = await testKey("dev1");
    const arrivedAtMs = nowMs;
    nowMs += 1_000;
    await provisionDevice(ca, "dev1", true);
    await expect(ca.issueFromCsr("dev1", csr, { arrivedAtMs })).rejects.toMatchObject({ code: "STALE_REQUEST" });
    expect(await ca.issueFromCsr("dev1", csr, { arrivedAtMs: nowMs + 1 })).toMatchObject({ repeated: false });
  });

  it("is served while the name is held by another key only where that was asked about, and does not shut the holder out", async () => {
    const ca = await scene.ca();
    const hashOf = async (serial: string): Promise<string> =>
      (await ca.list()).flatMap(({ certificates }) => certificates).find((one) => one.serial === serial)!.publicKeyHash;
    const device = await provisionDevice(ca, "dev1");
    const holder = await hashOf(device.serial);
    const ask = async (signedBy?: string, holderIsSilent = false): ReturnType<typeof ca.issueFromCsr> =>
      ca.issueFromCsr("dev1", (await testKey("dev1")).csr, { asker: { holderIsSilent, ...(signedBy !== undefined && { signedBy }) } });
    await expect(ask()).rejects.toMatchObject({ code: "ASKING_HOLDER" });
    await expect(ask("00")).rejects.toMatchObject({ code: "ASKING_HOLDER" });
    expect(await ca.recordObjection("dev1", holder)).toBe(device.serial);
    await expect(ca.recordObjection("dev1", "00")).rejects.toMatchObject({ code: "UNKNOWN_CERTIFICATE" });

    const taken = await ask(undefined, true);
    const taker = await hashOf(taken.serial);
    await expect(ca.retireOlder("dev1", taken.serial, { signedBy: holder })).rejects.toMatchObject({ code: "UNKNOWN_CERTIFICATE" });
    expect(await ca.retireOlder("dev1", taken.serial, { signedBy: taker })).toEqual([device.serial]);
    await expect(ca.recordObjection("dev1", holder)).rejects.toMatchObject({ code: "UNKNOWN_CERTIFICATE" });
    const back = await ask(holder);
    expect(await ca.retireOlder("dev1", back.serial, { signedBy: await hashOf(back.serial) })).toEqual([taken.serial]);
    await expect(ask(taker)).rejects.toMatchObject({ code: "ASKING_HOLDER" });
    await provisionDevice(ca, "dev1", true);
    await expect(ask(holder)).rejects.toMatchObject({ code: "ASKING_HOLDER" });
  });

  it("is limited by what the registry saw in the last hour, whoever counted before", async () => {
    let nowMs = Date.now();
    const ca = await scene.ca({}, { now: () => nowMs });
    await provisionDevice(ca, "dev1");
    const ask = async (): Promise<unknown> => ca.issueFromCsr("dev1", (await testKey("dev1")).csr, { perHour: 3 });
    await ask();
    await ask();
    await expect(ask()).rejects.toMatchObject({ code: "RATE_LIMITED" });
    nowMs += 2 * 3_600_000;
    expect(await ask()).toMatchObject({ repeated: false });
  });
});
