/** The story of one identity, step by step. Each step proves from outside what it says: through the watcher, or as a stranger. */
import { join } from "node:path";
import { openCa } from "../../ca/certificate-authority.js";
import { initCa } from "../../ca/ca-creation.js";
import { makeRogueDevice } from "./rogue-device.js";
import { DEVICE_ID, type Stage } from "./stage.js";
import { signIn, withCertificate, withPsk } from "./demo-strangers.js";
import { check, within } from "./within.js";

export interface Step {
  title: string;
  /** @returns what was seen, one line */
  play(stage: Stage): Promise<string>;
}

const up = (topic: string): string => `devices/${DEVICE_ID}/up/${topic}`;

export const STORY: readonly Step[] = [
  { title: "a CA, a broker and a device are made", play: build },
  { title: "connected by mutual TLS; telemetry seen, a command answered", play: connect },
  { title: "strangers and trespassers are refused", play: refuse },
  { title: "the broker dies and returns; nothing published is lost", play: survive },
  { title: "the certificate is rotated: proved, then committed", play: rotate },
  { title: "the certificate is revoked; recovery over PSK brings a new one", play: recover },
  { title: "the device is shut out for good", play: shutOut },
];

async function build(stage: Stage): Promise<string> {
  await stage.build();
  const names = (await stage.ca.list()).map((entry) => entry.name);
  check(names.includes(DEVICE_ID), "the registry knows the device");
  return `${stage.engine} broker on ports ${stage.broker.mtlsPort} (mTLS) and ${stage.broker.pskPort} (PSK); registered: ${names.join(", ")}`;
}

async function connect(stage: Stage): Promise<string> {
  const { watcher } = stage;
  await watcher.subscribe("devices/#");
  stage.startDevice();
  const { device } = stage;
  void answerCommands(stage);
  const { tlsVersion, protocolVersion, serial } = await stage.hears("connected", 0, (event) => event.credential === "mtls");
  await within(device.publish("up/temperature", JSON.stringify({ celsius: 21.5 }), { qos: 1 }), "the acknowledgement of the telemetry");
  await watcher.sees("the telemetry at the watcher", (seen) => seen.topic === up("temperature") && seen.text.includes("21.5"));
  await watcher.publish(`devices/${DEVICE_ID}/down/ping`, "are you there?");
  await watcher.sees("the device's answer at the watcher", (seen) => seen.topic === up("pong") && seen.text === "are you there?");
  return `${tlsVersion}, MQTT ${protocolVersion === 5 ? "5" : "3.1.1"}, certificate ${serial ?? ""}`;
}

async function answerCommands(stage: Stage): Promise<void> {
  const { device } = stage;
  for await (const command of device.subscribe("down/#", { qos: 1 })) {
    if (command.topic.endsWith("/down/ping")) await device.publish("up/pong", command.payload, { qos: 1, queue: true });
  }
}

async function refuse(stage: Stage): Promise<string> {
  const { ca, broker, watcher, directory } = stage;
  const trustAnchorPem = (await ca.brokerMaterial()).trustAnchorPem;
  const port = broker.mtlsPort;

  check(
    (await signIn({ clientId: "no-certificate", port, tls: { ca: trustAnchorPem } })) === undefined,
    "a stranger without certificate is refused",
  );

  const foreignDirectory = join(directory, "foreign-ca");
  await initCa(foreignDirectory, { name: "Somebody else", brokerHosts: ["localhost"], passphrase: stage.passphrase });
  const foreign = await (await openCa(foreignDirectory, stage.passphrase)).issueClient({ name: DEVICE_ID, role: "backend" });
  check(
    (await signIn({ clientId: DEVICE_ID, port, tls: withCertificate(foreign, trustAnchorPem) })) === undefined,
    "a certificate of another CA is refused",
  );

  const rogue = await makeRogueDevice(ca, "sensor-2");
  await broker.reload();
  const trespasser = await signIn({ clientId: rogue.id, port, tls: withCertificate(rogue, trustAnchorPem) });
  check(trespasser !== undefined, "another device of the same CA is let in");
  // MQTT 3.1.1 has no way to refuse a message: what counts is that nobody gets it. The second message, allowed, comes after it on the same
  // connection.
  await within(trespasser.publishAsync(up("temperature"), "forged", { qos: 0 }), "the forged message");
  await within(trespasser.publishAsync(`devices/${rogue.id}/up/temperature`, "own", { qos: 0 }), "the allowed message");
  await watcher.sees("the other device's own message", (seen) => seen.topic === `devices/${rogue.id}/up/temperature`);
  await trespasser.endAsync(true);
  check(!watcher.seen.some((seen) => seen.text === "forged"), "no message forged in the device's name arrived");
  return "no certificate, a certificate of another CA, another device's topic";
}

async function survive(stage: Stage): Promise<string> {
  const { device, broker, watcher, events } = stage;
  const from = events.length;
  await broker.kill();
  const published = Array.from({ length: 20 }, (_, n) => device.publish("up/counter", `meanwhile ${n}`, { qos: 1 }));
  const delaysMs: number[] = [];
  await stage.hears("retrying", from, ({ attempt, delayMs }) => {
    delaysMs[attempt] = delayMs;
    return attempt >= 3;
  });
  await broker.start();
  await watcher.online();
  await within(Promise.all(published), "the acknowledgement of all that was published while the broker was away");
  for (let n = 0; n < published.length; n++)
    await watcher.sees(`message ${n} of 20`, (seen) => seen.topic === up("counter") && seen.text === `meanwhile ${n}`);
  return `${published.length} messages of QoS 1 delivered after the outage; attempts came ${delaysMs.filter((delayMs) => delayMs > 0).join(", ")} ms apart`;
}

async function rotate(stage: Stage): Promise<string> {
  const { device, ca, watcher, events } = stage;
  const from = events.length;
  const oldSerial = device.status.serial;
  device.renew();
  const { newSerial } = await stage.hears("renewed", from);
  const connected = await stage.hears("connected", from, (event) => event.serial === newSerial);
  check(newSerial !== oldSerial && connected.credential === "mtls", "the new serial differs and is the one connected with");
  await watcher.sees(
    "the report of the new certificate",
    (seen) => seen.topic.endsWith("/identity/request") && seen.text.includes(newSerial),
  );
  await within(device.publish("up/temperature", "after rotation", { qos: 1 }), "an acknowledgement on the new certificate");
  await watcher.sees("telemetry on the new certificate", (seen) => seen.text === "after rotation");
  await within(revoked(stage, oldSerial ?? ""), "the retirement of the old certificate");
  const entry = (await ca.list()).find(({ name }) => name === DEVICE_ID);
  return `${oldSerial ?? ""} retired, ${newSerial} active (${entry?.state ?? "unknown"})`;
}

/** The authority retires the old certificate after the device's report; the broker is told then. */
async function revoked(stage: Stage, serial: string): Promise<void> {
  while (!(await stage.ca.brokerMaterial()).revokedSerials.has(serial)) await new Promise((resolve) => setTimeout(resolve, 50));
  await stage.broker.reload();
}

async function recover(stage: Stage): Promise<string> {
  const { device, ca, broker, watcher, events } = stage;
  const from = events.length;
  const oldSerial = device.status.serial ?? "";
  await ca.revoke({ id: DEVICE_ID, reason: "keyCompromise", certificateOnly: true });
  await broker.reload();
  const { code } = await stage.hears("credential-changed", from, (event) => event.to === "psk");

  const psk = (await ca.brokerMaterial()).pskFor(DEVICE_ID);
  check(psk !== undefined, "the device's pre-shared key is still active");
  const onPsk = await signIn({ clientId: `${DEVICE_ID}~demo`, port: broker.pskPort, tls: withPsk(DEVICE_ID, psk) });
  check(onPsk !== undefined, "the pre-shared key lets the device in on the PSK port");
  await within(onPsk.publishAsync(up("temperature"), "over PSK", { qos: 0 }), "telemetry over PSK");
  await within(onPsk.publishAsync(`devices/${DEVICE_ID}/identity/request`, "a marker", { qos: 0 }), "a message on the identity topic");
  await watcher.sees("the marker on the identity topic", (seen) => seen.text === "a marker");
  await onPsk.endAsync(true);
  check(!watcher.seen.some((seen) => seen.text === "over PSK"), "no telemetry came over the PSK port");

  const { serial } = await stage.hears("recovered", from);
  await stage.hears("connected", from, (event) => event.credential === "mtls" && event.serial === serial);
  await within(device.publish("up/temperature", "after recovery", { qos: 1 }), "an acknowledgement after recovery");
  await watcher.sees("telemetry after recovery", (seen) => seen.text === "after recovery");
  check(serial !== oldSerial, "the device has a new certificate");
  return `refused with ${code}; PSK for the identity topics only; back on mutual TLS with ${serial}`;
}

async function shutOut(stage: Stage): Promise<string> {
  const { ca, broker, events } = stage;
  const psk = (await ca.brokerMaterial()).pskFor(DEVICE_ID) ?? new Uint8Array(32);
  const from = events.length;
  await ca.revoke({ id: DEVICE_ID, reason: "cessationOfOperation" });
  await broker.reload();
  const byCertificate = await stage.hears("disconnected", from, (event) => event.credential === "mtls" && !event.wasConnected);
  const byPsk = await stage.hears("disconnected", from, (event) => event.credential === "psk" && !event.wasConnected);
  check(!events.slice(from).some((event) => event.type === "connected"), "the device was not let in again on either port");
  check(
    (await signIn({ clientId: DEVICE_ID, port: broker.pskPort, tls: withPsk(DEVICE_ID, psk) })) === undefined,
    "the withdrawn key is refused to a stranger too",
  );
  return `certificate: ${byCertificate.code}; pre-shared key: ${byPsk.code}`;
}
