import { beforeEach, describe, expect, it } from "vitest";
import type { Failure } from "../../../sdk/failure.js";
import type { Credential, Link } from "../../../sdk/platform.js";
import { VirtualAuthority } from "../pki/virtual-authority.js";
import { BrokerAccess } from "../broker/access.js";
import { VirtualKeys } from "../power/key-store.js";
import { PowerSupply } from "../power/power-supply.js";
import { SeededRandom } from "../random.js";
import { WORLD_BEGINS_MS } from "../time/world-clock.js";
import { drainByTurns, VirtualTime } from "../time/virtual-time.js";
import { VirtualNetwork, type Listener, type ServerSocket } from "./network.js";
import { Path } from "./path.js";

const DAY_MS = 86_400_000;
const MTLS_PORT = 1;
const PSK_PORT = 2;

/** One device and one server that notes what it hears. */
class Scene {
  readonly time = new VirtualTime(drainByTurns, (error) => this.errors.push(error));
  readonly errors: unknown[] = [];
  readonly authority = new VirtualAuthority(() => WORLD_BEGINS_MS + this.time.nowMs, new SeededRandom("ca"), DAY_MS);
  readonly access = new BrokerAccess(this.authority, () => WORLD_BEGINS_MS + this.time.nowMs);
  readonly keys = new VirtualKeys("dev");
  readonly power = new PowerSupply();
  readonly path = new Path(this.time, new SeededRandom("path"));
  readonly network = new VirtualNetwork(this.time);
  readonly heard: string[] = [];
  readonly serverHeard: number[] = [];
  socket: ServerSocket | undefined;
  serverEnded = 0;
  end: Failure | undefined;
  received: number[] = [];
  drains = 0;
  readonly listeners: Listener[] = [];

  constructor(tlsVersion: "TLSv1.3" | "TLSv1.2" = "TLSv1.3") {
    const certificate = {
      root: this.authority.root,
      names: ["broker"],
      notBeforeMs: WORLD_BEGINS_MS - DAY_MS,
      notAfterMs: WORLD_BEGINS_MS + 90 * DAY_MS,
    };
    for (const port of [MTLS_PORT, PSK_PORT]) {
      const listener: Listener = {
        up: true,
        tlsVersion,
        certificate,
        judge: (shown) => (port === MTLS_PORT ? this.access.judgeCertificate(shown, tlsVersion) : this.access.judgePsk(shown, tlsVersion)),
        accept: (socket) => {
          this.socket = socket;
          return { data: (bytes) => this.serverHeard.push(...bytes), ended: () => this.serverEnded++ };
        },
      };
      this.listeners.push(listener);
      this.network.listen("broker", port, listener);
    }
    this.keys.open(new PowerSupply()).generate("key-a");
    this.keys.open(new PowerSupply()).importPsk("psk", new Uint8Array(32).fill(7));
    this.access.psks.set("dev", new Uint8Array(32).fill(7));
  }

  certificate(changes: Partial<Extract<Credential, { kind: "mtls" }>> = {}): Credential {
    const issued = this.authority.issue("dev", this.keys.open(new PowerSupply()).publicKey("key-a"));
    return { kind: "mtls", slot: "key-a", chain: this.authority.chainOf(issued), trustAnchors: [this.authority.root], ...changes };
  }

  dial(credential: Credential, host = "broker", serverName?: string): Link {
    const port = credential.kind === "psk" ? PSK_PORT : MTLS_PORT;
    const endpoint = { host, port, validAtMs: WORLD_BEGINS_MS + this.time.nowMs, ...(serverName === undefined ? {} : { serverName }) };
    return this.network.dialer(this.path, this.keys, this.power).dial(endpoint, credential, 20_000, {
      opened: () => this.heard.push("opened"),
      data: (bytes) => this.received.push(...bytes),
      drain: () => this.drains++,
      ended: (failure) => {
        this.heard.push(failure.code);
        this.end = failure;
      },
    });
  }

  async after(delayMs: number): Promise<void> {
    await this.time.run(this.time.nowMs + delayMs);
    expect(this.errors).toEqual([]);
  }
}

describe("a virtual connection", () => {
  let scene: Scene;
  beforeEach(() => (scene = new Scene()));

  it("carries bytes both ways, in order, in pieces of any size", async () => {
    const link = scene.dial(scene.certificate());
    await scene.after(5_000);
    const sent = Array.from({ length: 6_000 }, (_, i) => (i * 7) & 0xff);
    for (let at = 0; at < sent.length; at += 61) link.write(Uint8Array.from(sent.slice(at, at + 61)));
    for (let at = 0; at < sent.length; at += 997) scene.socket!.write(Uint8Array.from(sent.slice(at, at + 997)));
    await scene.after(5_000);
    expect(scene.heard).toEqual(["opened"]);
    expect(scene.serverHeard).toEqual(sent);
    expect(scene.received).toEqual(sent);
  });

  it("asks to wait when its buffer is full, and says when there is room", async () => {
    const link = scene.dial(scene.certificate());
    await scene.after(5_000);
    expect(link.write(new Uint8Array(5_000))).toBe(true);
    expect(link.write(new Uint8Array(5_000))).toBe(false);
    await scene.after(5_000);
    expect(scene.drains).toBe(1);
    expect(scene.serverHeard).toHaveLength(10_000);
  });

  it("sends what is queued before it closes, and ends on both sides", async () => {
    const link = scene.dial(scene.certificate());
    await scene.after(5_000);
    link.write(Uint8Array.of(1, 2, 3));
    link.close();
    await scene.after(5_000);
    expect(scene.serverHeard).toEqual([1, 2, 3]);
    expect(scene.serverEnded).toBe(1);
    expect(scene.heard).toEqual(["opened", "CLOSED_LOCALLY"]);
  });

  it("tells when the server closes, and when the connection is reset", async () => {
    scene.dial(scene.certificate());
    await scene.after(5_000);
    scene.socket!.close();
    await scene.after(5_000);
    expect(scene.heard).toEqual(["opened", "CONNECTION_CLOSED"]);
    scene.dial(scene.certificate());
    await scene.after(5_000);
    scene.path.resetLinks();
    expect(scene.heard.slice(2)).toEqual(["opened", "CONNECTION_RESET"]);
  });

  it("tells nobody when a middlebox forgets it", async () => {
    const link = scene.dial(scene.certificate());
    await scene.after(5_000);
    scene.path.forgetLinks();
    link.write(Uint8Array.of(1));
    scene.socket!.write(Uint8Array.of(2));
    await scene.after(3_600_000);
    expect([scene.heard, scene.serverHeard, scene.received, scene.serverEnded]).toEqual([["opened"], [], [], 0]);
  });

  it("delivers after a black hole what was sent in it, in order", async () => {
    const link = scene.dial(scene.certificate());
    await scene.after(5_000);
    scene.path.blackHole = true;
    for (let i = 0; i < 20; i++) link.write(Uint8Array.of(i));
    await scene.after(60_000);
    expect(scene.serverHeard).toEqual([]);
    scene.path.blackHole = false;
    link.write(Uint8Array.of(20));
    await scene.after(10_000);
    expect(scene.serverHeard).toEqual(Array.from({ length: 21 }, (_, i) => i));
  });

  it("vanishes without a word when the power goes, until the server speaks to it", async () => {
    scene.dial(scene.certificate());
    await scene.after(5_000);
    scene.power.cut();
    await scene.after(60_000);
    expect([scene.heard, scene.serverEnded]).toEqual([["opened"], 0]);
    scene.socket!.write(Uint8Array.of(1));
    await scene.after(5_000);
    expect([scene.received, scene.serverEnded]).toEqual([[], 1]);
  });
});

describe("a virtual attempt", () => {
  const faults: [string, (scene: Scene) => void, string][] = [
    ["a name that cannot be resolved", (scene) => (scene.path.dns = "fails"), "DNS_FAILED"],
    ["a silent resolver", (scene) => (scene.path.dns = "silent"), "CONNECT_TIMEOUT"],
    ["a refused connection", (scene) => (scene.path.reach = "refused"), "CONNECTION_REFUSED"],
    ["no route", (scene) => (scene.path.reach = "unreachable"), "HOST_UNREACHABLE"],
    ["a server that is down", (scene) => scene.listeners.forEach((one) => (one.up = false)), "CONNECTION_REFUSED"],
    ["a black hole", (scene) => (scene.path.blackHole = true), "CONNECT_TIMEOUT"],
    ["a captive portal", (scene) => (scene.path.impostor = "SERVER_CA_UNKNOWN"), "SERVER_CA_UNKNOWN"],
    [
      "an expired server certificate",
      (scene) => scene.listeners.forEach((one) => (one.certificate = { ...one.certificate, notAfterMs: 0 })),
      "SERVER_CERTIFICATE_EXPIRED",
    ],
    ["a lost key", (scene) => scene.keys.lose("key-a"), "KEY_MISSING"],
  ];

  for (const [name, begin, code] of faults) {
    it(`fails with ${code} on ${name}`, async () => {
      const scene = new Scene();
      const credential = scene.certificate();
      begin(scene);
      scene.dial(credential);
      await scene.after(60_000);
      expect(scene.heard).toEqual([code]);
    });
  }

  it("judges the server by the anchors and by its name", async () => {
    const scene = new Scene();
    scene.dial(scene.certificate({ trustAnchors: [scene.authority.issuing] }));
    await scene.after(60_000);
    scene.dial(scene.certificate(), "broker", "another");
    await scene.after(60_000);
    scene.dial(scene.certificate(), "nowhere");
    await scene.after(60_000);
    expect(scene.heard).toEqual(["SERVER_CA_UNKNOWN", "SERVER_NAME_MISMATCH", "DNS_FAILED"]);
  });

  it("fails before anything is sent when key and certificate do not match", async () => {
    const scene = new Scene();
    const credential = scene.certificate();
    scene.keys.open(new PowerSupply()).generate("key-a");
    scene.dial(credential);
    await scene.after(1);
    expect(scene.heard).toEqual(["KEY_MISMATCH"]);
  });
});

/** The table of reference/xs-host-and-tls.md, "What a client sees". */
const VERDICTS: readonly [name: string, (scene: Scene) => Credential, v13: readonly [string, number], v12: readonly [string, number]][] = [
  [
    "an expired certificate",
    (scene) => {
      const credential = scene.certificate();
      void scene.time.run(2 * DAY_MS);
      return credential;
    },
    ["CERTIFICATE_EXPIRED", 45],
    ["TLS_FAILED", 45],
  ],
  [
    "a revoked certificate",
    (scene) => {
      const credential = scene.certificate();
      scene.access.revoked.add(scene.authority.current("dev")[0]!.serial);
      return credential;
    },
    ["CERTIFICATE_REVOKED", 44],
    ["TLS_FAILED", 44],
  ],
  [
    "a certificate of another authority",
    (scene) => {
      scene.access.knowsClientCa = false;
      return scene.certificate();
    },
    ["CERTIFICATE_CA_UNKNOWN", 48],
    ["TLS_FAILED", 48],
  ],
  ["no certificate", (scene) => scene.certificate({ chain: [] }), ["CERTIFICATE_REQUIRED", 116], ["CERTIFICATE_REQUIRED", 40]],
  ["an unknown PSK identity", () => ({ kind: "psk", slot: "psk", identity: "stranger" }), ["PSK_REJECTED", 40], ["PSK_REJECTED", 115]],
  [
    "a wrong pre-shared key",
    (scene) => {
      scene.access.psks.set("dev", new Uint8Array(32));
      return { kind: "psk", slot: "psk", identity: "dev" };
    },
    ["PSK_REJECTED", 47],
    ["PSK_REJECTED", 20],
  ],
];

describe("the verdict of the server", () => {
  for (const [name, begin, v13, v12] of VERDICTS) {
    for (const [version, [code, alert]] of [
      ["TLSv1.3", v13],
      ["TLSv1.2", v12],
    ] as const) {
      it(`on ${name} is ${code} (alert ${alert}) in ${version}`, async () => {
        const scene = new Scene(version);
        const credential = begin(scene);
        await scene.after(1);
        scene.dial(credential);
        await scene.after(60_000);
        // In 1.2 an alert about a certificate comes unprotected, and says nothing about it.
        expect(scene.end).toMatchObject({ code, alert, class: code === "TLS_FAILED" ? "network" : "credential" });
        // In 1.3 a certificate is judged after the handshake is over for the client.
        expect(scene.heard).toEqual(version === "TLSv1.3" && credential.kind === "mtls" ? ["opened", code] : [code]);
      });
    }
  }

  it("can get lost to a reset", async () => {
    const scene = new Scene();
    scene.access.knowsClientCa = false;
    scene.path.alertLoss = 1;
    scene.dial(scene.certificate());
    await scene.after(60_000);
    expect(scene.heard).toEqual(["opened", "CONNECTION_RESET"]);
  });
});
