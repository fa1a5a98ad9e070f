/** Plays a scenario in the virtual world: the SDK's own code, seeded time, network, broker and authority; a week in seconds. */
import type { FleetFacts, FleetResult, Sample } from "../../../sim/fleet/fleet-result.js";
import type { DeliveryFault } from "../../../sim/fleet/delivery-account.js";
import { numberOf, type Toxic } from "../../../sim/proxy/toxics.js";
import { runWorld } from "../../../sim/virtual/node-host.js";
import type { World, WorldResult } from "../../../sim/virtual/world/world.js";
import { Recording } from "./virtual-recording.js";
import type { Scenario } from "./scenario.js";
import { stepsOf, type Step } from "./timeline.js";

const DAY_MS = 86_400_000;
/** After the scenario's end devices may take as long as the slowest enrolment before the world calls them lost. */
const BACK_ONLINE_MS = 30 * 60_000;
const YEAR_MS = 365 * DAY_MS;
/** Faults of this shape lose nothing in the world either; these have no counterpart there. */
const NOT_VIRTUAL = new Set(["slicer", "limit_data", "slow_close"]);
/** Invariants that know the SDK's default backoff and patience only; a scenario may set others. */
const OF_DEFAULTS = new Set(["attempt-spacing", "left-too-soon", "fleet-left-together"]);

/** @throws HawserError `SCENARIO_INVALID` naming the line of what only real brokers can do */
export async function playVirtual(scenario: Scenario, seed: string): Promise<FleetResult> {
  checkPlayable(scenario);
  const startedAt = new Date().toISOString();
  const recording = new Recording(scenario.durationMs);
  const { fleet, durationMs } = scenario;
  const world = await runWorld({
    seed,
    devices: fleet.ids.length,
    ids: fleet.ids,
    days: durationMs / DAY_MS,
    faults: [],
    backOnlineBoundMs: BACK_ONLINE_MS,
    quietAtEnd: true,
    traits: {
      world: { tlsVersion: "TLSv1.3", lifetimeMs: fleet.certificateLifetimeMs ?? YEAR_MS },
      device: {
        recoverable: fleet.recovery,
        bare: false,
        usesLogin: false,
        persistent: true,
        outboxMessages: 10_000,
        overflow: "reject",
        clock: "battery",
        latencyMs: 5,
        jitterMs: 5,
        publishEveryMs: fleet.publishEveryMs,
        commandEveryMs: fleet.commandsPerSecond > 0 ? (fleet.ids.length * 1_000) / fleet.commandsPerSecond : YEAR_MS,
        retryCapMs: fleet.retryCapMs,
        patienceMs: fleet.recoveryPatienceMs,
      },
    },
    script: (made) => {
      recording.attach(made);
      for (const step of stepsOf(scenario.timeline)) {
        if (step.atMs > durationMs) continue;
        made.time.at(step.atMs, () => {
          recording.mark(step);
          take(step, made);
        });
      }
      // What is still wrong at the end is over then: what was accepted has to be able to arrive.
      made.time.at(durationMs, () => restore(made));
    },
  });
  const facts = factsOf(scenario, seed, startedAt, recording, world);
  const broken = world.violations.filter(({ invariant }) => !OF_DEFAULTS.has(invariant));
  const checks = [
    ...scenario.expectations.map((one) => one.judge({ ...facts, marks: recording.marks })).filter((check) => check !== undefined),
    {
      name: "the SDK keeps its promises",
      passed: broken.length === 0,
      detail:
        broken.length === 0
          ? `digest ${world.digest}`
          : broken
              .slice(0, 5)
              .map(({ invariant, device, what }) => `${invariant}: ${device}: ${what}`)
              .join("; "),
    },
  ];
  return { ...facts, checks, passed: checks.every(({ passed }) => passed) };
}

function checkPlayable({ fleet, own, policyText, timeline, refuse }: Scenario): void {
  if (own !== undefined) throw refuse(["broker", "url"], "a real broker is not part of the virtual world", "Leave --virtual out, or url.");
  if (policyText !== undefined)
    throw refuse(["policy"], "the virtual broker knows the default policy only", "Leave --virtual out, or policy.");
  if (fleet.program !== undefined)
    throw refuse(
      ["fleet", "program"],
      "the virtual world runs its own mix of messages",
      "Leave --virtual out, or use `virtualWorld()` of hawser/testing.",
    );
  if (fleet.client !== "hawser") throw refuse(["fleet", "client"], "the virtual world runs the SDK only", "Leave --virtual out, or this.");
  for (const [key, value] of Object.entries({
    sleepers: fleet.sleepers,
    rebootsPerHour: fleet.rebootsPerHour,
    renewalsPerHour: fleet.renewalsPerHour,
  })) {
    if (value > 0) throw refuse(["fleet", key], "is not part of the virtual world", "Leave --virtual out, or this.");
  }
  for (const { action, refuse: at } of timeline) {
    const odd = action.kind === "toxics" ? action.toxics.find(({ type }) => NOT_VIRTUAL.has(type)) : undefined;
    if (odd)
      throw at(
        `${odd.type} is not part of the virtual world`,
        "Use latency, bandwidth, stall, timeout, reset_peer, half_open, captive_portal, down.",
      );
  }
}

function take({ event: { action }, isEnd }: Step, world: World): void {
  const { devices, broker, authority } = world;
  const disturbed = (lasts: boolean): void => {
    for (const { recovery } of devices) {
      if (!isEnd) recovery.faultBegins();
      if (isEnd || !lasts) recovery.faultEnds("scenario");
    }
  };
  switch (action.kind) {
    case "broker":
      disturbed(action.to === "down");
      if (action.to !== "up" && !isEnd) broker.stop("keeps");
      if (action.to !== "down" || isEnd) broker.start();
      return;
    case "authority":
      disturbed(action.to === "away");
      authority.mood.down = action.to === "away" && !isEnd;
      return;
    case "rollover":
      return authority.rollOver();
    case "revoke":
      return revoke(world, action.ids, action.certificateOnly);
    case "renew":
      for (const device of devices) if (device.random.fork("scenario-renews").chance(action.share)) device.device?.renew();
      return;
    case "reach":
      disturbed(action.to === "down");
      for (const { path } of devices) {
        path.reach = action.to === "down" && !isEnd ? "refused" : "works";
        if (path.reach === "refused") path.resetLinks();
      }
      return;
    case "names":
      disturbed(!action.resolve);
      for (const { path } of devices) path.dns = action.resolve || isEnd ? "works" : "fails";
      return;
    case "clock":
      disturbed(true);
      for (const { clock } of devices) {
        clock?.synchronise();
        if (!isEnd) clock?.jump(action.aheadMs);
      }
      return;
    case "toxics":
      disturbed(true);
      for (const toxic of action.toxics)
        for (const device of devices) if (device.random.fork(`toxic/${toxic.name}`).chance(toxic.toxicity)) setToxic(device, toxic, isEnd);
  }
}

function revoke({ devices, authority, broker, access }: World, ids: readonly string[], certificateOnly: boolean): void {
  for (const device of devices.filter(({ id }) => ids.includes(id))) {
    device.recovery.faultBegins();
    authority.shutOut(device.id);
    if (!certificateOnly) access.psks.delete(device.id);
    broker.kick(device.id, 0x87);
    // Shut out for good: it is not expected back.
    if (certificateOnly) device.recovery.faultEnds("revoked");
  }
}

function setToxic({ path, traits }: World["devices"][number], toxic: Toxic, isEnd: boolean): void {
  switch (toxic.type) {
    case "latency":
      path.latencyMs = isEnd ? traits.latencyMs : traits.latencyMs + numberOf(toxic, "latency");
      path.jitterMs = isEnd ? traits.jitterMs : traits.jitterMs + numberOf(toxic, "jitter");
      return;
    case "bandwidth":
      path.uplinkBytesPerSecond = isEnd ? Infinity : Math.max(1, numberOf(toxic, "rate") * 1_000);
      return;
    case "stall":
      path.loss = isEnd ? 0 : numberOf(toxic, "probability");
      return;
    case "timeout":
      path.blackHole = !isEnd;
      return;
    case "half_open":
      if (!isEnd) path.forgetLinks();
      return;
    case "reset_peer":
      if (!isEnd) path.resetLinks();
      return;
    case "captive_portal":
      path.impostor = isEnd ? undefined : "SERVER_CA_UNKNOWN";
      if (!isEnd) path.resetLinks();
  }
}

function restore({ broker, authority, devices }: World): void {
  broker.start();
  authority.mood.down = false;
  for (const { path, traits, clock } of devices) {
    clock?.synchronise();
    Object.assign(path, {
      reach: "works",
      dns: "works",
      impostor: undefined,
      loss: 0,
      latencyMs: traits.latencyMs,
      jitterMs: traits.jitterMs,
      uplinkBytesPerSecond: traits.uplinkBytesPerSecond,
    });
    if (path.blackHole) path.blackHole = false;
  }
}

function factsOf(scenario: Scenario, seed: string, startedAt: string, recording: Recording, world: WorldResult): FleetFacts {
  const lost = world.violations.filter(({ invariant }) => /^qos\d-(lost|doubled)$/.test(invariant));
  const faults = lost.map(({ invariant, device, what }): DeliveryFault => {
    const n = Number(/message (\d+)/.exec(what)?.[1] ?? 0);
    return invariant === "qos2-doubled"
      ? { kind: "doubled", id: device, n, qos: 2, times: 2 }
      : { kind: "lost", id: device, n, qos: Number(invariant[3]) };
  });
  const [qos0, qos1, qos2] = recording.accepted();
  const last = recording.samples.at(-1);
  const all = recording.samples.find(({ connected }) => connected === scenario.fleet.ids.length);
  return {
    v: 1,
    name: scenario.name,
    seed,
    client: "virtual",
    broker: "virtual world",
    startedAt,
    durationMs: scenario.durationMs,
    devices: scenario.fleet.ids.length,
    workers: 1,
    messages: {
      accepted: { qos0, qos1, qos2 },
      delivered: world.messagesUp,
      copiesAtQos1: 0,
      lostAtQos0: 0,
      refused: 0,
      faults,
      faultCount: lost.length,
    },
    commands: { ...recording.commands(), unanswered: [] },
    delivery: recording.delivery(),
    answer: { count: 0, p50Ms: 0, p90Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 },
    connections: {
      most: Math.max(0, ...recording.samples.map(({ connected }: Sample) => connected)),
      accepted: world.connections,
      attempts: last?.attempts ?? world.attempts,
      allOnlineMs: all?.atMs,
      renewed: world.rotations,
      devicesByCredential: recording.devicesByCredential(),
    },
    failures: recording.failures,
    cost: { kilobytesPerDevice: 0, cpuPercentPerThousand: 0, cpuMicrosPerMessage: 0 },
    samples: recording.samples,
    events: recording.events,
  };
}
