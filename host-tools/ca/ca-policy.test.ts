import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import type { MqttClient } from "mqtt";
import { afterEach, describe, expect, it } from "vitest";
import { DEFAULT_POLICY_TEXT } from "../policy/default-policy.js";
import { freePorts, PASSPHRASE, provisionDevice, Scene, testKey } from "../../test/support/host-tools/scene.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import type { ClientCredentials } from "./clients.js";
import type { WrittenBrokerConfig } from "./broker-configs.js";
import { openCaReadOnly, verifyAudit } from "./ca-without-passphrase.js";

const scene = new Scene();
afterEach(() => scene.clean());

const code = (expected: string): unknown => expect.objectContaining({ code: expected });

/** The built-in policy with a site, a viewer of one site, and reports under another name. */
const OWN = DEFAULT_POLICY_TEXT.replace("name: default", "name: own\nattributes: { site: { values: [b1, b2] } }")
  .replace("topic: up/#", "topic: reports/#")
  .replace(
    "limits:",
    `  viewer:\n    grants:\n      - allow: read\n        channels: [device.up]\n        scope: { site: "{site}" }\n\nlimits:`,
  );

interface Place extends WrittenBrokerConfig {
  readonly mtlsPort: number;
}

async function configured(ca: CertificateAuthority): Promise<Place> {
  const [mtlsPort, pskPort] = await freePorts();
  return {
    mtlsPort,
    ...(await ca.writeBrokerConfig({ engine: "mosquitto", out: join(scene.directory(), "broker"), mtlsPort, pskPort, bind: "127.0.0.1" })),
  };
}

async function connect({ chainPem, keyPem, trustAnchorPem }: ClientCredentials, port: number, clientId: string): Promise<MqttClient> {
  return scene.client(
    await mqtt.connectAsync({
      host: "127.0.0.1",
      port,
      protocol: "mqtts",
      protocolVersion: 5,
      clientId,
      ca: trustAnchorPem,
      cert: chainPem,
      key: keyPem,
      servername: "localhost",
      reconnectPeriod: 0,
    }),
  );
}

const acl = ({ directory }: WrittenBrokerConfig): string => readFileSync(join(directory, "mtls.acl"), "utf8");

describe("a CA's policy", () => {
  it("is the built-in one until another is applied, which is audited and counts for whoever opens the CA", async () => {
    const ca = await scene.ca();
    expect(await ca.policyText()).toBe(DEFAULT_POLICY_TEXT);
    expect(await ca.applyPolicy(OWN)).toMatchObject({ name: "own", changed: true });
    expect(await ca.applyPolicy(OWN)).toMatchObject({ changed: false });
    expect(readFileSync(join(ca.directory, "policy.yaml"), "utf8")).toBe(OWN);
    expect(readFileSync(join(ca.directory, "audit.jsonl"), "utf8").match(/"event":"policy-applied","policy":"own"/g)).toHaveLength(1);
    expect(verifyAudit(ca.directory).ok).toBe(true);
    const again = await openCa(ca.directory, PASSPHRASE);
    expect((await again.brokerMaterial()).policy.policy.name).toBe("own");
  });

  it("reaches a running mosquitto, and takes rights from live connections", async () => {
    const ca = await scene.ca();
    const { mtlsPort, configFile } = await configured(ca);
    await scene.mosquitto(configFile);
    const backend = await connect(await ca.issueClient({ name: "backend-1", role: "backend" }), mtlsPort, "backend-1");
    await ca.issueClient({ name: "authority-1", role: "authority" });
    await backend.publishAsync("devices/dev1/down/x", "1", { qos: 1 });
    const withoutDown = OWN.replace("      - allow: write\n        channels: [device.down]\n  operator:", "  operator:");
    await ca.issueClient({ name: "op", role: "operator" });
    await ca.applyPolicy(withoutDown);
    await expect(backend.publishAsync("devices/dev1/down/x", "2", { qos: 1 })).rejects.toThrow();
    await ca.applyPolicy(OWN);
    await backend.publishAsync("devices/dev1/down/x", "3", { qos: 1 });
  });

  it("bounds the bytes of an address in the firewall rules beside mosquitto's configuration, where it has a number", async () => {
    const ca = await scene.ca();
    const { directory } = await configured(ca);
    const byteLimit = (): string | undefined =>
      /ip saddr limit rate over (\d+ bytes\/second)/.exec(readFileSync(join(directory, "limits.nft"), "utf8"))?.[1];
    expect(byteLimit()).toBe("131072 bytes/second");
    const bounded = (bytes: number): string => OWN.replace("limits:\n", `limits:\n  bytesPerSecondPerSource: ${bytes}\n`);
    await ca.applyPolicy(bounded(500_000));
    expect(byteLimit()).toBe("500000 bytes/second");
    await expect(ca.applyPolicy(bounded(4_095))).rejects.toThrow(/bytesPerSecondPerSource/);
    expect(byteLimit()).toBe("500000 bytes/second");
    await ca.applyPolicy(OWN);
    expect(byteLimit()).toBe("131072 bytes/second");
  });

  it("follows the attributes of a name", async () => {
    const ca = await scene.ca();
    await ca.applyPolicy(OWN);
    const place = await configured(ca);
    await scene.mosquitto(place.configFile);
    await provisionDevice(ca, "dev1");
    await ca.setName({ id: "dev1", attributes: { site: "b1" } });
    await ca.issueClient({ name: "board", role: "viewer" });
    expect(acl(place)).not.toMatch(/user board\n(topic deny .*\n)*topic read/);
    await ca.setName({ id: "board", attributes: { site: "b1" } });
    // When this resolves, the broker was asked and has the new files.
    expect(acl(place)).toContain("topic read devices/dev1/reports/#");
    await ca.setName({ id: "dev1", attributes: { site: "b2" } });
    expect(acl(place)).not.toMatch(/user board\n(topic deny .*\n)*topic read/);
    expect(openCaReadOnly(ca.directory).get("dev1").attributes).toEqual({ site: "b2" });
    await ca.setName({ id: "dev1", attributes: { site: undefined } });
    expect(openCaReadOnly(ca.directory).get("dev1").attributes).toBeUndefined();
  });

  it("decides which roles and attributes there are", async () => {
    const ca = await scene.ca();
    await expect(ca.issueClient({ name: "board", role: "viewer" })).rejects.toEqual(code("INVALID_ROLE"));
    await ca.applyPolicy(OWN);
    await ca.issueClient({ name: "board", role: "viewer" });
    await expect(ca.setName({ id: "board", attributes: { site: "b3" } })).rejects.toEqual(code("INVALID_ATTRIBUTE"));
    await expect(ca.setName({ id: "board", attributes: { colour: "red" } })).rejects.toEqual(code("INVALID_ATTRIBUTE"));
    await expect(ca.setName({ id: "board", attributes: {}, role: "device" })).rejects.toEqual(code("INVALID_ROLE"));
    await expect(ca.setName({ id: "ghost", attributes: {} })).rejects.toEqual(code("UNKNOWN_ID"));
    await expect(ca.reserve({ id: "d", role: "viewer" })).rejects.toEqual(code("INVALID_ROLE"));
  });

  it("is refused when it cuts off the authority, every operator or every device, unless that is wanted", async () => {
    const ca = await scene.ca();
    await ca.issueClient({ name: "authority-1", role: "authority" });
    await ca.issueClient({ name: "op", role: "operator" });
    await provisionDevice(ca, "dev1");
    const without = (text: string): string => DEFAULT_POLICY_TEXT.replace(text, "");
    const refused = [
      ["the enrolment authority", without("      - allow: write\n        channels: [device.response]\n")],
      ["every operator", DEFAULT_POLICY_TEXT.replace(/ {6}- allow: write\n {8}channels: \[device.down\]\n/g, "")],
      [
        "every device",
        DEFAULT_POLICY_TEXT.replace("base: devices/{id}", "base: devices/{site}/{id}")
          .replace("name: default", "name: d\nattributes: { site: {} }")
          .replace('topics: ["devices/#"]', 'topics: ["x"]'),
      ],
    ] as const;
    for (const [who, text] of refused) {
      await expect(ca.applyPolicy(text)).rejects.toEqual(
        expect.objectContaining({ code: "POLICY_CUTS_OFF", message: expect.stringContaining(who) as string }),
      );
      expect(existsSync(join(ca.directory, "policy.yaml"))).toBe(false);
    }
    await expect(ca.applyPolicy(DEFAULT_POLICY_TEXT.replace("base: devices/{id}", "base: home/{id}"))).rejects.toMatchObject({
      code: "POLICY_CUTS_OFF",
      message: expect.stringContaining("could not renew") as string,
    });
    expect(await ca.applyPolicy(refused[0][1], { force: true })).toMatchObject({ changed: true });
  });

  it("takes from no device the topics on which it asks, until it was heard on others", async () => {
    const ca = await scene.ca();
    const { serial } = await provisionDevice(ca, "dev1");
    const withoutOld = DEFAULT_POLICY_TEXT.replace(
      "topic: identity/request",
      'topic: "fleet/{id}/request"\n        absolute: true',
    ).replace("topic: identity/response", 'topic: "fleet/{id}/response"\n        absolute: true');
    const old = (name: string, direction: string): string =>
      `      old-${name}: { topic: identity/${name}, direction: ${direction}, recovery: true }\n`;
    const withBoth = withoutOld.replace(
      "\n# Devices whose role",
      `${old("request", "up")}${old("response", "down")}\n# Devices whose role`,
    );
    const stuck = { code: "POLICY_CUTS_OFF", message: expect.stringContaining("(dev1) could not renew") as string };
    await expect(ca.applyPolicy(withoutOld)).rejects.toMatchObject(stuck);
    expect(await ca.topicsOf("dev1")).toEqual({ base: "devices/dev1", identity: "devices/dev1/identity" });
    await ca.applyPolicy(withBoth);
    // The first of the two is where devices are told to ask.
    expect(await ca.topicsOf("dev1")).toEqual({ base: "devices/dev1", identity: "fleet/dev1" });
    expect(await ca.identityBasesOf("dev1")).toEqual(["fleet/{id}", "devices/{id}/identity"]);
    expect(await ca.identityTopics("hawser-authority")).toEqual({
      bases: ["fleet/{id}", "devices/{id}/identity"],
      mark: "devices/hawser-authority/identity/request",
    });
    // It was heard where it always asked: nobody can take that away, and it stays heard there until it says otherwise.
    const { serial: renewed, topics } = await ca.issueFromCsr("dev1", (await testKey("dev1")).csr);
    expect(topics).toEqual(await ca.topicsOf("dev1"));
    await ca.retireOlder("dev1", renewed, { identityBase: "devices/{id}/identity" });
    await expect(ca.applyPolicy(withoutOld, { force: true })).rejects.toMatchObject(stuck);
    await ca.retireOlder("dev1", renewed, { identityBase: "fleet/{id}" });
    await ca.applyPolicy(withoutOld);
    expect(await ca.identityTopics("hawser-authority")).toEqual({ bases: ["fleet/{id}"] });
    await expect(ca.applyPolicy(DEFAULT_POLICY_TEXT, { force: true })).rejects.toMatchObject(stuck);
    expect(serial).not.toBe(renewed);
    // Another device in its place has not been heard anywhere.
    await provisionDevice(ca, "dev1", true);
    await ca.applyPolicy(withBoth);
  });

  it("lets --force go only those devices that were never heard, and no role move a device away", async () => {
    const ca = await scene.ca();
    await provisionDevice(ca, "dev1");
    const foreign = DEFAULT_POLICY_TEXT.replace(/topic: identity\/(\w+)/g, "topic: hello/$1")
      .replace(
        "\nclasses:\n",
        `
classes:
  other:
    base: other/{id}
    channels:
      request: { topic: request, direction: up, recovery: true }
      response: { topic: response, direction: down, recovery: true }
`,
      )
      .replace(
        "\nroles:\n",
        "\nroles:\n  other: { for: devices, class: other }\n  quarantined: { for: devices, class: other, channels: [request] }\n",
      );
    await expect(ca.applyPolicy(foreign)).rejects.toMatchObject({ code: "POLICY_CUTS_OFF" });
    await ca.applyPolicy(foreign, { force: true });
    await expect(ca.setName({ id: "dev1", attributes: {}, role: "other" })).rejects.toMatchObject({ code: "POLICY_CUTS_OFF" });
    expect(await ca.setName({ id: "dev1", attributes: {}, role: "quarantined" })).toMatchObject({ role: "quarantined" });
  });

  it("changes nothing when it is wrong, or when mosquitto cannot say it", async () => {
    const ca = await scene.ca();
    const place = await configured(ca);
    await expect(ca.applyPolicy("version: 2\n")).rejects.toEqual(code("POLICY_INVALID"));
    const timed = OWN.replace(
      'scope: { site: "{site}" }',
      'scope: { site: "{site}" }\n        when: { times: [{ from: "08:00", to: "17:00" }] }',
    );
    await ca.applyPolicy(OWN);
    await ca.issueClient({ name: "board", role: "viewer" });
    const before = acl(place);
    await expect(ca.applyPolicy(timed)).rejects.toMatchObject({
      code: "POLICY_INVALID",
      message: expect.stringMatching(/cannot say times of access/) as string,
    });
    expect(acl(place)).toBe(before);
    expect(await ca.policyText()).toBe(OWN);
  });

  it("is taken back when one of several brokers cannot follow, and leaves the others as they were", async () => {
    const ca = await scene.ca({}, { onOutput: () => undefined });
    const [good, bad] = [await configured(ca), await configured(ca)];
    const before = acl(good);
    rmSync(bad.directory, { recursive: true });
    writeFileSync(bad.directory, "in the way");
    await provisionDevice(ca, "dev1").catch(() => undefined);
    await expect(ca.applyPolicy(OWN, { force: true })).rejects.toEqual(code("OUTPUT_FAILED"));
    expect(await ca.policyText()).toBe(DEFAULT_POLICY_TEXT);
    expect(acl(good)).not.toContain("reports");
    expect(before).not.toContain("reports");
  });

  it("is noticed when somebody else changes it", async () => {
    const ca = await scene.ca();
    await ca.applyPolicy(OWN);
    appendFileSync(join(ca.directory, "policy.yaml"), "# mine\n");
    await expect(openCa(ca.directory, PASSPHRASE)).rejects.toEqual(code("CA_CORRUPT"));
  });

  it("is not taken from a file that somebody put where there was none", async () => {
    const ca = await scene.ca();
    writeFileSync(join(ca.directory, "policy.yaml"), OWN);
    const again = await openCa(ca.directory, PASSPHRASE);
    expect((await again.brokerMaterial()).policy.policy.name).toBe("default");
  });
});
