/**
 * Exhaustive power cuts: a scene is played once for every moment at which the power can fail, and once for every pair of such moments, the
 * second one after the reboot. Before and after each single write is a moment. All invariants hold in each play.
 */
import { DEFAULT_LIMITS } from "./broker/broker-settings.js";
import type { PowerSupply } from "./power/power-supply.js";
import { drainByTurns, type DrainMicrotasks } from "./time/virtual-time.js";
import type { Violation } from "./world/chronicle.js";
import type { GivenTraits } from "./world/traits.js";
import { World } from "./world/world.js";

export interface PowerCutScene {
  name: string;
  traits: GivenTraits;
  /** Sets going what is to be interrupted; called when the cuts begin to count. */
  begin(world: World): void;
  /** How long cuts are possible, milliseconds. */
  lastsMs: number;
}

export interface PowerCutFigures {
  scene: string;
  /** Moments of the uninterrupted scene at which the power could fail. */
  moments: number;
  singles: number;
  pairs: number;
  broken: { cuts: readonly number[]; violations: readonly Violation[] }[];
}

export interface PowerCutPlay {
  /** Moments in the last power-on at which the power could fail. */
  moments: number;
  boots: number;
  violations: readonly Violation[];
}

const DAY_MS = 86_400_000;
/** The device is online and calm by then, milliseconds. */
const CALM_MS = 30_000;

/** No policy of any scene asks for more: two reboots, an enrolment, a few attempts, milliseconds. */
const BACK_ONLINE_MS = 240_000;

const STEADY: GivenTraits["device"] = {
  protocolVersion: 5,
  recoverable: true,
  bare: false,
  elsewhere: false,
  keepAliveSeconds: 60,
  sessionExpirySeconds: 86_400,
  outboxMessages: 200,
  overflow: "reject",
  clock: "battery",
  latencyMs: 20,
  jitterMs: 5,
  keepsSessions: false,
};
/** The device that {@link STEADY} is, with messages that wait for each of its wakings. */
const SLEEPER: GivenTraits["device"] = { ...STEADY, commandEveryMs: 3_600_000, keepsSessions: true };
/** From one falling asleep to the next, and how long it sleeps, milliseconds. RAM is kept: cuts are counted within one power-on. */
const SLEEP_EVERY_MS = 4_000;
const ASLEEP_MS = 1_000;
/** Refused by CONNACK, a device would be patient for longer than a scene lasts. */
const STEADY_WORLD: GivenTraits["world"] = { lifetimeMs: 30 * DAY_MS, limits: DEFAULT_LIMITS, refusesRevoked: "in-handshake" };

export const POWER_CUT_SCENES: readonly PowerCutScene[] = [
  {
    name: "rotation",
    traits: { world: STEADY_WORLD, device: { ...STEADY, persistent: false, publishEveryMs: 30_000, commandEveryMs: 30_000 } },
    begin: (world) => eachDevice(world, (device) => device.device?.renew()),
    lastsMs: 20_000,
  },
  {
    name: "move",
    traits: { world: STEADY_WORLD, device: { ...STEADY, persistent: false, publishEveryMs: 30_000, commandEveryMs: 30_000 } },
    begin: (world) =>
      eachDevice(world, ({ id, device }) => {
        world.authority.places.move(id);
        device?.renew();
      }),
    lastsMs: 20_000,
  },
  {
    // Learns of the new root, says that it has it, and forgets the old one.
    name: "root",
    traits: { world: STEADY_WORLD, device: { ...STEADY, persistent: false, publishEveryMs: 30_000, commandEveryMs: 3_600_000 } },
    begin: (world) => {
      world.authority.roots.begin();
      for (const atMs of [0, 8_000, 16_000]) world.time.after(atMs, () => eachDevice(world, ({ device }) => device?.renew()));
    },
    lastsMs: 24_000,
  },
  {
    name: "elsewhere",
    traits: {
      world: STEADY_WORLD,
      device: { ...STEADY, recoverable: false, elsewhere: true, persistent: false, publishEveryMs: 30_000, commandEveryMs: 30_000 },
    },
    // The first answer comes after the device has given it up, and while it asks again.
    begin: (world) => {
      world.authority.mood.delayMs = 33_000;
      world.time.after(20_000, () => (world.authority.mood.delayMs = 50));
      eachDevice(world, (device) => device.device?.renew());
    },
    lastsMs: 45_000,
  },
  {
    name: "recovery",
    traits: { world: STEADY_WORLD, device: { ...STEADY, persistent: false, publishEveryMs: 30_000, commandEveryMs: 30_000 } },
    begin: (world) =>
      eachDevice(world, ({ id }) => {
        for (const { serial } of [...world.authority.current(id)]) world.authority.revoke(id, serial);
        world.broker.kick(id, 0x98);
      }),
    lastsMs: 40_000,
  },
  {
    name: "outbox",
    traits: { world: STEADY_WORLD, device: { ...STEADY, persistent: true, publishEveryMs: 3_000, commandEveryMs: 3_600_000 } },
    begin: (world) => {
      world.broker.stop("keeps");
      world.time.after(25_000, () => world.broker.start());
    },
    lastsMs: 45_000,
  },
  {
    name: "session",
    traits: { world: STEADY_WORLD, device: { ...STEADY, persistent: true, publishEveryMs: 3_000, commandEveryMs: 3_000 } },
    begin: (world) => {
      for (const atMs of [3_000, 8_000]) world.time.after(atMs, () => eachDevice(world, (device) => device.path.resetLinks()));
    },
    lastsMs: 14_000,
  },
  {
    name: "sleep",
    traits: {
      world: STEADY_WORLD,
      device: { ...SLEEPER, persistent: false, publishEveryMs: 30_000 },
    },
    begin: (world) => {
      sleepTimes(world, 4);
      // A new certificate in between: what was kept under the old one must not be offered.
      world.time.after(2 * SLEEP_EVERY_MS - 1_500, () => eachDevice(world, (device) => device.device?.renew()));
    },
    lastsMs: 16_000,
  },
  {
    name: "waking",
    traits: { world: STEADY_WORLD, device: { ...SLEEPER, persistent: true, publishEveryMs: 1_000, messagesWithConnect: 3 } },
    begin: (world) => sleepTimes(world, 2),
    lastsMs: 8_000,
  },
];

function sleepTimes(world: World, count: number): void {
  for (let sleep = 0; sleep < count; sleep++) {
    world.time.after(100 + sleep * SLEEP_EVERY_MS, () => eachDevice(world, (device) => device.stop()));
    world.time.after(100 + sleep * SLEEP_EVERY_MS + ASLEEP_MS, () => eachDevice(world, (device) => device.restart()));
  }
}

function eachDevice(world: World, act: (device: World["devices"][number]) => void): void {
  for (const device of world.devices) act(device);
}

/** Plays a scene with cuts at these moments: the first counted from its beginning, each further one from the reboot before it. */
export async function playPowerCuts(
  scene: PowerCutScene,
  seed: string,
  cuts: readonly number[],
  drain: DrainMicrotasks = drainByTurns,
): Promise<PowerCutPlay> {
  let power: PowerSupply | undefined;
  let countedFrom = 0;
  let moments = 0;
  const left = [...cuts];
  const world = new World({
    seed,
    devices: 1,
    days: (CALM_MS + scene.lastsMs) / DAY_MS,
    faults: [],
    drain,
    traits: scene.traits,
    backOnlineBoundMs: BACK_ONLINE_MS,
    script: ({ time, devices }) => {
      const device = devices[0];
      if (!device) return;
      const arm = (): void => {
        const next = left.shift();
        if (next !== undefined) power?.cutAfter(next);
      };
      time.at(CALM_MS, () => {
        power = device.power;
        countedFrom = power?.cutPoints ?? 0;
        device.onBoot = (booted) => {
          [power, countedFrom] = [booted, 0];
          arm();
        };
        arm();
        scene.begin(world);
      });
      time.at(CALM_MS + scene.lastsMs, () => {
        moments = (power?.cutPoints ?? 0) - countedFrom;
        device.onBoot = () => undefined;
        power?.cutAfter(Infinity);
        device.quiet = true;
      });
    },
  });
  const { violations, boots } = await world.run();
  return { moments, violations, boots };
}

/**
 * Plays a scene with every single cut and every pair of cuts.
 * @param every 1 for all of them; more leaves out that many of each kind but one
 */
export async function powerCutFigures(
  scene: PowerCutScene,
  seed: string,
  every: number,
  drain?: DrainMicrotasks,
): Promise<PowerCutFigures> {
  const whole = await playPowerCuts(scene, seed, [], drain);
  const figures: PowerCutFigures = { scene: scene.name, moments: whole.moments, singles: 0, pairs: 0, broken: [] };
  const note = (cuts: readonly number[], violations: readonly Violation[]): void => {
    if (violations.length > 0) figures.broken.push({ cuts, violations });
  };
  note([], whole.violations);
  let pair = 0;
  for (let first = 0; first < whole.moments; first++) {
    const single = await playPowerCuts(scene, seed, [first], drain);
    figures.singles++;
    note([first], single.violations);
    for (let second = 0; second < single.moments; second++) {
      if (pair++ % every !== 0) continue;
      figures.pairs++;
      note([first, second], (await playPowerCuts(scene, seed, [first, second], drain)).violations);
    }
  }
  return figures;
}
