import { describe, expect, it } from "vitest";
import { drainOnNode } from "../node-host.js";
import type { InvariantName } from "../world/chronicle.js";
import { World } from "../world/world.js";
import type { FaultKind } from "./fault-kind.js";
import { FAULT_KINDS } from "./fault-plan.js";

interface Effect {
  /** A line of the timeline that would not be there without the fault. */
  line?: RegExp;
  /** Or what can be seen while it lasts. */
  state?: (world: World) => boolean;
  /** A fault that is needed to make this one felt. */
  with?: string;
  /**
   * Not judged here: a report of the certificate in use that failed is repeated within an hour, for which this short world does not wait.
   */
  known?: InvariantName;
}

const device = (world: World) => world.devices[0]!;

const EFFECTS: Record<string, Effect> = {
  "dns-failure": { line: /DNS_FAILED|CONNECT_TIMEOUT/ },
  refused: { line: /CONNECTION_REFUSED|HOST_UNREACHABLE/ },
  "black-hole": { line: /KEEPALIVE_TIMEOUT|CONNECT_TIMEOUT/ },
  "long-outage": { line: /KEEPALIVE_TIMEOUT|CONNECT_TIMEOUT/ },
  flapping: { line: /CONNECTION_RESET/ },
  reset: { line: /CONNECTION_RESET/ },
  "half-open": { line: /KEEPALIVE_TIMEOUT/ },
  loss: { state: (world) => device(world).path.loss > 0 },
  "slow-path": { state: (world) => device(world).path.latencyMs >= 500 },
  "no-network": { line: /no-network/ },
  "captive-portal": { line: /class=server-trust/ },
  "alerts-lost": { state: (world) => device(world).path.alertLoss > 0 },
  "broker-restart": { line: /SERVER_SHUTTING_DOWN|CONNECTION_RESET/ },
  "broker-outage": { line: /CONNECTION_REFUSED/ },
  "broker-amnesia": { line: /broker lost the session/ },
  "broker-busy": { line: /SERVER_UNAVAILABLE|SERVER_BUSY|QUOTA_EXCEEDED|CONNECTION_RATE_EXCEEDED/ },
  "backend-hiccup": { line: /NOT_AUTHORIZED|BAD_USERNAME_OR_PASSWORD/ },
  "backend-away": { line: /NOT_AUTHORIZED|BAD_USERNAME_OR_PASSWORD/ },
  "refused-for-hours": { line: /enrolment-stopped/ },
  "broker-clock-wrong": { line: /CERTIFICATE_REJECTED|CERTIFICATE_EXPIRED/ },
  "recovery-unanswered": { line: /CERTIFICATE_CA_UNKNOWN/ },
  "authority-clock-wrong": { line: /renewed|identity-dropped|CERTIFICATE_REJECTED|CERTIFICATE_EXPIRED/ },
  "man-in-the-middle": { line: /anybody on the way|CONNECTION_RESET/ },
  "key-stolen": { line: /CERTIFICATE_REVOKED/ },
  "topics-moved": { line: /topics-changed/, with: "renewal-asked" },
  "topics-nowhere": { line: /renewed/, with: "renewal-asked" },
  insider: { line: /broker accepts mtls/ },
  "psk-stolen": { line: /broker accepts psk/ },
  "answers-forged": { line: /UNTRUSTED_CERTIFICATE|KEY_MISMATCH|TRY_LATER|renewed/ },
  redirect: { line: /USE_ANOTHER_SERVER|SERVER_MOVED|SERVER_UNAVAILABLE/ },
  "broker-slow": { state: (world) => world.broker.mood.processingMs > 0 },
  "broker-mute": { line: /CONNECT_TIMEOUT/ },
  "drops-after-connack": { line: /attempt=[3-9]/ },
  "publish-refused": { state: (world) => world.broker.mood.publishRefusal !== undefined },
  "hangs-up-on-item": { line: /BROKER_HANGS_UP/ },
  kick: { line: /wasConnected=true/ },
  takeover: { line: /SESSION_TAKEN_OVER|CONNECTION_CLOSED/ },
  "takeover-fight": { line: /SESSION_TAKEN_OVER|CONNECTION_CLOSED/ },
  malformed: { line: /class=protocol/ },
  "session-removed": { line: /broker lost the session/ },
  "access-denied": { state: (world) => world.access.denied.size > 0 },
  "server-certificate-expired": { line: /SERVER_CERTIFICATE_EXPIRED/ },
  revoked: { line: /CERTIFICATE_REVOKED|NOT_AUTHORIZED/ },
  "rights-end-first": { line: /CERTIFICATE_REVOKED/ },
  "revoked-quietly": { line: /CERTIFICATE_REVOKED/, with: "reset" },
  "revoked-in-rotation": { line: /CERTIFICATE_REVOKED|NOT_AUTHORIZED/ },
  "revoked-before-answer": { line: /BAD_REQUEST/ },
  "client-ca-lost": { line: /CERTIFICATE_CA_UNKNOWN/ },
  "psk-withdrawn": { state: (world) => world.access.psks.size === 0 },
  "key-lost": { line: /KEY_MISSING/ },
  "renewal-asked": { line: /renewed/ },
  "root-rollover": { line: /the broker's certificate comes from the new root/ },
  "authority-down": { line: /NO_ANSWER/ },
  "authority-refuses": { line: /TRY_LATER|RATE_LIMITED|UNKNOWN_DEVICE/ },
  "authority-defective": { line: /renewal-failed|identity-dropped/ },
  "authority-twice": { line: /renewed/ },
  "reports-lost": { state: (world) => world.authority.mood.losesReports },
  "authority-slow": { line: /renewed|NO_ANSWER/ },
  "slow-uplink": { state: (world) => device(world).path.uplinkBytesPerSecond < 10_000 },
  "power-cut": { line: /power cut/ },
  "power-blink": { line: /power cut/ },
  "power-cut-in-write": { line: /power cut/ },
  "reboot-loop": { line: /boot [5-9]/ },
  "switched-off": { line: /power cut/ },
  "flash-failing": { state: (world) => device(world).flash.refusals > 0, known: "old-certificate" },
  "flash-full": { state: (world) => device(world).flash.capacityBytes < 100_000 },
  "clock-jump": { state: (world) => Math.abs(device(world).clock!.wallMs() - world.broker.wallMs()) > 50_000 },
  "time-servers-lost": { state: (world) => !device(world).timeServers },
  stopped: { line: /stopped/ },
};

/** Runs a world with one kind of fault and tells what was seen of it. */
async function play(kinds: readonly FaultKind[], state: (world: World) => boolean) {
  const lines: string[] = [];
  let stateSeen = false;
  const world = new World({
    seed: "kinds",
    devices: 1,
    days: 0.25,
    backOnlineBoundMs: 1_800_000,
    faults: kinds,
    drain: drainOnNode,
    onLine: (line) => lines.push(line),
    traits: {
      world: { lifetimeMs: 86_400_000, tlsVersion: "TLSv1.3", limits: { versions: [4, 5] } },
      device: {
        recoverable: true,
        bare: false,
        usesLogin: false,
        persistent: true,
        protocolVersion: 5,
        publishEveryMs: 60_000,
        clock: "battery",
      },
    },
    script: ({ time }) => {
      const look = (): void => {
        stateSeen ||= state(world);
        time.after(5_000, look);
      };
      time.after(60_000, look);
    },
  });
  const result = await world.run();
  return { lines, stateSeen, result };
}

describe("faults", () => {
  it("are all known to this test", () => {
    expect(FAULT_KINDS.map((kind) => kind.name).sort()).toEqual(Object.keys(EFFECTS).sort());
  });

  for (const kind of FAULT_KINDS) {
    const { line = /./, state = () => true, with: companion, known } = EFFECTS[kind.name] ?? {};
    it(`of kind ${kind.name} happen, and do not break the device`, async () => {
      const { lines, stateSeen, result } = await play(
        FAULT_KINDS.filter((one) => one === kind || one.name === companion),
        state,
      );
      expect(result.faults[kind.name]).toBeGreaterThan(0);
      expect(lines.some((text) => line.test(text) && !text.includes("FAULT"))).toBe(true);
      expect(stateSeen).toBe(true);
      expect(result.violations.filter(({ invariant }) => invariant !== known)).toEqual([]);
    });
  }

  it("change nothing where none are wanted", async () => {
    const { result, lines } = await play([], () => false);
    expect(result.faults).toEqual({});
    expect(result.attempts).toBe(1);
    expect(lines.some((text) => text.includes("disconnected"))).toBe(false);
  });
});
