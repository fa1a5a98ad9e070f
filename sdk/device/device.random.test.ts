/**
 * Anything in any order: calls of the application, faults of every port, answers of broker and authority. What must hold after it is
 * checked.
 */
import fc from "fast-check";
import { expect, it } from "vitest";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { failure, type FailureCode } from "../failure.js";
import { Device, type DeviceConfig } from "./device.js";
import { errorCode } from "../errors.js";
import type { KeyStore } from "../platform.js";
import { accepting, failing, refusing, silent, type Behaviour } from "../../test/support/device/scripted-dialer.js";
import { BROKER, RECOVERY, World } from "../../test/support/device/test-world.js";

const MINUTE_MS = 60_000;

const CODES: FailureCode[] = [
  "DNS_FAILED",
  "CONNECTION_RESET",
  "TLS_FAILED",
  "SERVER_CA_UNKNOWN",
  "CERTIFICATE_REVOKED",
  "CERTIFICATE_EXPIRED",
  "KEY_MISMATCH",
  "PSK_REJECTED",
];
const BREAKABLE: (keyof KeyStore)[] = ["generate", "csr", "sign", "has", "destroy"];

const strangers = memoryKeyStore();
strangers.generate("key-a");

const CONFIGS: Partial<DeviceConfig>[] = [
  {},
  { outbox: { persistent: true } },
  { protocolVersion: 4 },
  { token: { audience: "a", lifetimeSeconds: 3_600 } },
];

const accepts: Behaviour = accepting();
const endsAtOnce: Behaviour = accepting({
  connect: (_, peer) => {
    peer.send({ cmd: "connack", sessionPresent: false, reasonCode: 0, returnCode: 0 }, { cmd: "disconnect", reasonCode: 0x8b });
    return undefined;
  },
});
const throws: Behaviour = {
  dialled: ({ wire }) => {
    wire.isDead = true;
    throw new Error("no sockets");
  },
};
const noSuback = accepting({ subscribe: () => undefined });
const refusedSuback = accepting({ subscribe: ({ messageId }) => ({ cmd: "suback", messageId: messageId ?? 0, granted: [0x87] }) });
const noPuback = accepting({ publish: () => undefined });

const behaviour: fc.Arbitrary<Behaviour> = fc.oneof(
  fc.constantFrom(accepts, accepts, endsAtOnce, throws, silent, noSuback, refusedSuback, noPuback),
  fc.constantFrom(...CODES).map((code) => failing(failure(code, "in a test"))),
  fc.constantFrom(0x84, 0x87, 0x88, 0x89, 0x8a, 0x97).map((code) => refusing(code)),
);

interface Scene {
  readonly config: Partial<DeviceConfig>;
  world: World;
  device: Device;
  rejected: string[];
  /** End the listeners that call back into the device. */
  ends: (() => void)[];
}

interface Step {
  what: string;
  run: (scene: Scene) => Promise<void> | void;
}

const step = (what: string, run: Step["run"]): Step => ({ what, run });

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(0, 1, 200, 1_000, 10_000, 40_000, 200_000).map((ms) => step(`${ms} ms pass`, ({ world }) => world.pass(ms))),
  },
  {
    weight: 4,
    arbitrary: behaviour.map((next) => step("the next connection is another", ({ world }) => void world.dialer.next.push(next))),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      step("start", ({ device }) => device.start()),
      step("stop", ({ device }) => void device.stop()),
      step("renew", ({ device }) => device.renew()),
      step("cut", ({ world }) => world.dialer.peers.at(-1)?.wire.cut()),
      step("revoked", ({ world }) => world.dialer.peers.at(-1)?.wire.cut(failure("CERTIFICATE_REVOKED", "in a test"))),
      step("storage fills up", ({ world }) => void (world.storage.isFull = true)),
      step("storage has room", ({ world }) => void (world.storage.isFull = false)),
      step("keys work", ({ world }) => world.brokenKeyCalls.clear()),
      step("the clock is trusted or not", ({ world }) => void (world.time.isTrusted = !world.time.isTrusted)),
      step(
        "publish",
        ({ device, rejected }) => void device.publish("up/t", "x", { qos: 1 }).catch((error: unknown) => rejected.push(errorCode(error))),
      ),
    ),
  },
  { weight: 1, arbitrary: fc.constant(step("power fails", reboot)) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(...BREAKABLE)
      .map((name) => step(`the key store breaks: ${name}`, ({ world }) => void world.brokenKeyCalls.add(name))),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      step("the authority issues", issue),
      step("the authority refuses", refuse),
      step("the authority issues for another", issueWrong),
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("connecting", "connected", "disconnected", "retrying", "credential-changed", "pending", "renewed")
      .chain((type) =>
        fc
          .constantFrom("stop", "renew", "both")
          .map((call) => step(`a listener of ${type} calls ${call}, once`, (scene) => listenOnce(scene, type, call))),
      ),
  },
);

/** Power fails; the next life begins, in the same state of its surroundings. */
function reboot(scene: Scene): void {
  const { world } = scene;
  scene.world = world.rebooted();
  scene.world.storage.isFull = world.storage.isFull;
  scene.device = boot(scene.world, scene.config);
  scene.ends = [];
  scene.device.start();
}

function boot(world: World, config: Partial<DeviceConfig>): Device {
  const device = new Device({ broker: BROKER, recovery: RECOVERY, ...config }, world.platform);
  device.listen((event) => world.events.push(event));
  return device;
}

async function issueWrong({ world }: Scene): Promise<void> {
  const request = world.enrolments.at(-1);
  if (!request) return;
  const stranger = await world.issueFor(strangers.csr("key-a", "sensor-2"));
  await world.answer({ requestId: request.requestId, chain: [Buffer.from(stranger).toString("base64")] });
}

async function issue({ world }: Scene): Promise<void> {
  if (world.enrolments.length > 0 && world.dialer.peers.length > 0) await world.issue();
}

async function refuse({ world }: Scene): Promise<void> {
  const requestId = world.enrolments.at(-1)?.requestId;
  if (requestId !== undefined) await world.answer({ requestId, error: { code: "TRY_LATER", message: "later", retryAfterSeconds: 30 } });
}

function listenOnce({ device, ends }: Scene, type: string, call: string): void {
  const end = device.listen((event) => {
    if (event.type !== type) return;
    end();
    if (call === "renew") return device.renew();
    void device.stop();
    if (call === "both") device.start();
  });
  ends.push(end);
}

/** Mends everything, and lets broker and authority do their work until the device is online with a certificate. */
async function healed(scene: Scene): Promise<boolean> {
  const { world, device } = scene;
  for (const end of scene.ends) end();
  world.storage.isFull = false;
  world.brokenKeyCalls.clear();
  world.dialer.next = [];
  world.dialer.usually = accepts;
  world.dialer.peers.at(-1)?.wire.cut();
  await world.pass(6_000);
  device.start();
  let answered = world.enrolments.length - 1;
  for (let minute = 0; minute < 240; minute++) {
    await world.pass(MINUTE_MS / 4);
    if (world.enrolments.length > answered) {
      answered = world.enrolments.length;
      await issue(scene);
    }
    await world.pass((MINUTE_MS * 3) / 4);
    if (
      device.status.state === "online" &&
      device.status.credential === "mtls" &&
      device.status.pendingSerial === undefined &&
      device.status.outbox.messages === 0
    )
      return true;
  }
  return false;
}

it(
  "whatever came before, a device in a world that works again is online, has delivered all, and can be stopped",
  { timeout: 60_000 },
  async () => {
    const history = fc.array(steps, { minLength: 5, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(history, fc.boolean(), fc.constantFrom(...CONFIGS), async (taken, isFromFactory, config) => {
        const first = await World.provisioned({ certificate: !isFromFactory, lifetimeMs: 30 * 24 * 60 * MINUTE_MS });
        const scene: Scene = { config, world: first, device: boot(first, config), rejected: [], ends: [] };
        scene.device.start();
        const open = (): number => scene.world.dialer.peers.filter(({ wire }) => !wire.isClosed && !wire.isDead).length;
        for (const { run } of taken) {
          await run(scene);
          await scene.world.pass(0);
          expect(open()).toBeLessThanOrEqual(1);
        }
        const { world, device } = scene;
        const story = (): string =>
          `${taken.map(({ what }) => what).join("; ")} -> ${JSON.stringify(device.status)} ${JSON.stringify(world.events.slice(-4))}`;
        if (!(await healed(scene))) throw new Error(`not online: ${story()}`);
        // A full storage takes no message that is to be kept in it, and says so.
        const excused = config.outbox?.persistent ? ["STORAGE_FULL"] : [];
        expect(
          scene.rejected.filter((code) => !excused.includes(code)),
          story(),
        ).toEqual([]);
        expect(open(), story()).toBe(1);
        expect(world.serial, story()).toBe(device.status.serial);
        const stopped = device.stop();
        await world.pass(10_000);
        await stopped;
        world.news();
        await world.pass(24 * 60 * MINUTE_MS);
        expect([device.status.state, world.news(), world.time.timers], story()).toEqual(["stopped", [], 0]);
      }),
      { numRuns: Number(process.env["RUNS"] ?? 150) },
    );
  },
);
