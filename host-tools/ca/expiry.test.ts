/** The years of a CA: what renews itself, what is told of in time, what is proved. */
import { X509Certificate } from "node:crypto";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { CaDirectory } from "../ca-directory/ca-directory.js";
import { openCa } from "./certificate-authority.js";
import { caEndsMs, statusOf } from "./expiry.js";
import { openCaReadOnly } from "./ca-without-passphrase.js";
import { verifyCa } from "./verification.js";

const DAY_MS = 86_400_000;
const scene = new Scene();
afterEach(() => scene.clean());

const states = (directory: string, nowMs: number): Record<string, string> =>
  Object.fromEntries(
    [...statusOf(openCaReadOnly(directory), nowMs).parts, ...statusOf(openCaReadOnly(directory), nowMs).names].map(
      ({ what, name, state }) => [name ?? what, state],
    ),
  );

describe("the broker's certificate", () => {
  it("renews itself with the first change after two thirds of its life, and not before", async () => {
    const startMs = Date.now();
    let nowMs = startMs;
    const ca = await scene.ca({}, { now: () => nowMs });
    const serial = async (): Promise<string> => new X509Certificate((await ca.brokerMaterial()).chainPem).serialNumber.toLowerCase();
    const first = await serial();
    nowMs = startMs + 545 * DAY_MS;
    await ca.renewCrl();
    expect(await serial()).toBe(first);
    nowMs = startMs + 551 * DAY_MS;
    await provisionDevice(ca, "dev1");
    const second = await serial();
    expect(second).not.toBe(first);
    expect([...(await ca.brokerMaterial()).revokedSerials]).toEqual([first]);
    // Once: later changes leave the new one alone.
    await ca.renewCrl();
    expect(await serial()).toBe(second);
    expect((await verifyCa(ca.directory, PASSPHRASE, { nowMs })).problems).toEqual([]);
  });

  it("is not renewed over and over where the issuing CA ends before it could", async () => {
    const startMs = Date.now();
    let nowMs = startMs;
    const ca = await scene.ca({ lifetimesMs: { issuing: 100 * DAY_MS, broker: 825 * DAY_MS } }, { now: () => nowMs });
    for (const day of [70, 80, 90, 95, 99]) {
      nowMs = startMs + day * DAY_MS;
      await ca.renewCrl();
    }
    expect([...(await ca.brokerMaterial()).revokedSerials]).toEqual([]);
  });

  it("takes hosts in and leaves them out, also for a process that opened the CA before", async () => {
    const ca = await scene.ca({ brokerHosts: ["localhost"] });
    const other = await openCa(ca.directory, PASSPHRASE);
    expect((await ca.renewBrokerCertificate({ addHosts: ["mqtt.example.com", "10.0.0.5", "localhost"] })).hosts).toEqual([
      "localhost",
      "mqtt.example.com",
      "10.0.0.5",
    ]);
    await other.renewBrokerCertificate({ removeHosts: ["localhost"] });
    const material = await ca.brokerMaterial();
    expect(new X509Certificate(material.chainPem).subjectAltName).toBe("DNS:mqtt.example.com, IP Address:10.0.0.5");
    expect(openCaReadOnly(ca.directory).brokerHosts).toEqual(["mqtt.example.com", "10.0.0.5"]);
    for (const [host, why] of [
      ["*.example.com", /wildcard/],
      ["mqtt_1.example.com", /underscore/],
      ["fe80::1%eth0", /zone/],
      ["https://x", /no host name/],
    ] as const) {
      await expect(ca.renewBrokerCertificate({ addHosts: [host] })).rejects.toMatchObject({
        code: "BAD_HOST",
        message: expect.stringMatching(why) as string,
      });
    }
    await expect(ca.renewBrokerCertificate({ removeHosts: ["nowhere"] })).rejects.toMatchObject({ code: "BAD_HOST" });
    await expect(ca.renewBrokerCertificate({ removeHosts: ["mqtt.example.com", "10.0.0.5"] })).rejects.toMatchObject({ code: "BAD_HOST" });
  });
});

describe("the status of a CA", () => {
  it("asks for attention 60 days before an end, or in the last quarter of a shorter life", async () => {
    const startMs = Date.now();
    const ca = await scene.ca({ lifetimesMs: { device: 365 * DAY_MS } });
    await provisionDevice(ca, "dev1");
    const at = (days: number): Record<string, string> => states(ca.directory, startMs + days * DAY_MS);
    expect(at(0)).toEqual({ root: "ok", issuing: "ok", broker: "ok", crl: "ok", dev1: "ok" });
    expect([at(22)["crl"], at(23)["crl"], at(31)["crl"]]).toEqual(["ok", "soon", "expired"]);
    expect([at(304)["dev1"], at(306)["dev1"], at(366)["dev1"]]).toEqual(["ok", "soon", "expired"]);
    expect([at(764)["broker"], at(766)["broker"], at(826)["broker"]]).toEqual(["ok", "soon", "expired"]);
    expect([at(1765)["issuing"], at(1767)["issuing"], at(1827)["issuing"]]).toEqual(["ok", "soon", "expired"]);
    expect([at(7244)["root"], at(7246)["root"]]).toEqual(["ok", "soon"]);
    expect(statusOf(openCaReadOnly(ca.directory), startMs).isWell).toBe(true);
    expect(statusOf(openCaReadOnly(ca.directory), startMs + 306 * DAY_MS).isWell).toBe(false);
  });

  it("asks for attention when the root before ends during a rollover of the root, and names that end as the CA's, until it is retired", async () => {
    const startMs = Date.now();
    let nowMs = startMs;
    const ca = await scene.ca({ lifetimesMs: { root: 400 * DAY_MS, issuing: 400 * DAY_MS } }, { now: () => nowMs });
    const directory = new CaDirectory(ca.directory);
    const rootEndsMs = caEndsMs(directory);
    nowMs = startMs + 300 * DAY_MS;
    await ca.rollOverRoot();
    const at = (days: number): Record<string, string> => states(ca.directory, startMs + days * DAY_MS);
    expect([caEndsMs(directory), at(301)["root"]]).toEqual([rootEndsMs, "ok"]);
    expect([at(339), at(341), at(401)].map((parts) => parts["previous-root"])).toEqual(["ok", "soon", "expired"]);
    await ca.retirePrevious();
    expect(at(341)).toMatchObject({ root: "ok", issuing: "ok" });
    expect([at(341)["previous-root"], (caEndsMs(directory) ?? 0) > startMs + 699 * DAY_MS]).toEqual([undefined, true]);
  });
});

describe("verifying a CA", () => {
  it("finds that all agree, however it came there", async () => {
    const ca = await scene.ca();
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    await provisionDevice(ca, "a", true);
    await ca.revoke({ id: "b", reason: "keyCompromise" });
    await ca.renewBrokerCertificate();
    const reservation = await ca.reserve({ id: "gone", role: "sensor" });
    await ca.abandon(reservation);
    writeFileSync(join(ca.directory, "notes.txt"), "mine");
    const { problems, strangers, names, auditLines, revision } = await verifyCa(ca.directory, PASSPHRASE);
    expect({ problems, strangers, names }).toEqual({ problems: [], strangers: ["notes.txt"], names: 3 });
    expect(auditLines).toBe(revision);
  });

  it("names each entry that was removed, changed or added", async () => {
    const ca = await scene.ca();
    for (const id of ["a", "b", "c"]) await provisionDevice(ca, id);
    const entry = (name: string): string => join(ca.directory, "registry", `${name}.json`);
    renameSync(entry("a"), join(ca.directory, "..", "a.json"));
    writeFileSync(entry("b"), readFileSync(entry("b"), "utf8").replace("sensor", "valves"));
    writeFileSync(entry("new"), readFileSync(entry("c"), "utf8").replace('"name": "c"', '"name": "new"'));
    await expect(verifyCa(ca.directory, PASSPHRASE)).rejects.toMatchObject({
      code: "CA_CORRUPT",
      message: expect.stringContaining("missing: a.json; not written by this CA: new.json; not what the CA wrote last: b.json") as string,
    });
    rmSync(entry("new"));
  });
});
