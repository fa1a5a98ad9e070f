import { describe, expect, it } from "vitest";
import { BROKER, World } from "../../test/support/device/test-world.js";
import { TEST_ANCHOR } from "../../test/support/device/test-issuer.js";
import { watch } from "../../test/support/mqtt/session-world.js";
import { Device, type DeviceConfig } from "./device.js";
import { HawserError } from "../errors.js";
import type { Platform } from "../platform.js";
import { checkLogin } from "./device-config-check.js";

/** Whatever plain JavaScript may give, beyond the types. */
type Slip = Record<string, unknown>;

async function refusal(config: unknown, platform?: Platform): Promise<HawserError> {
  const world = await World.provisioned();
  try {
    new Device(config as DeviceConfig, platform ?? world.platform);
  } catch (error) {
    expect(error).toBeInstanceOf(HawserError);
    return error as HawserError;
  }
  throw new Error("accepted");
}

const PASSWORD_CREDENTIAL = { kind: "password", id: "s1", trustAnchors: [TEST_ANCHOR] };
const TOKEN = { audience: "a", lifetimeSeconds: 60 };
const login = (): object => ({ password: "p" });
const broker = (changes: Slip): Slip => ({ broker: { ...BROKER, ...changes } });
const also = (changes: Slip): Slip => ({ broker: BROKER, ...changes });

describe("A slip in the configuration is told at once, by its name:", () => {
  it.each<[string, unknown, name: string, allowed: string]>([
    ["no configuration", undefined, "options", "broker"],
    ["a text for it", "mqtts://b", "options", "broker"],
    ["no broker", {}, "broker", "host"],
    ["a broker that is a text", { broker: "mqtts://b:8883" }, "broker", "host, port"],
    ["no host", { broker: { port: 1 } }, "broker.host", "missing"],
    ["no port", { broker: { host: "b" } }, "broker.port", "missing"],
    ["a URL as host", broker({ host: "mqtts://b" }), "broker.host", "without a scheme"],
    ["a port in the host", broker({ host: "b:8883" }), "broker.host", "the port is a separate option"],
    ["a blank behind the host", broker({ host: "b " }), "broker.host", "without spaces"],
    ["a line end behind the host", broker({ host: "b\n" }), "broker.host", "without spaces"],
    ["an IPv6 address in brackets", broker({ host: "[::1]" }), "broker.host", "without brackets"],
    ["a path behind the host", broker({ host: "b/mqtt" }), "broker.host", "letters"],
    ["a host with umlauts", broker({ host: "bröker.test" }), "broker.host", "xn--"],
    ["half an IPv6 address", broker({ host: "b::x" }), "broker.host", "IPv6"],
    ["a port as text", broker({ port: "8883" }), "broker.port", "1 to 65535"],
    ["port 70000", broker({ port: 70_000 }), "broker.port", "1 to 65535"],
    ["a server name with a scheme", broker({ serverName: "https://b" }), "broker.serverName", "without a scheme"],
    ["an unknown option of the broker", broker({ hostname: "b" }), "broker.hostname", "did you mean host"],
    ["a recovery broker without a port", also({ recovery: { host: "b" } }), "recovery.port", "missing"],
    ["MQTT.js's keepalive", also({ keepalive: 10 }), "keepalive", "did you mean keepAliveSeconds"],
    ["spare brokers that are no list", also({ spares: BROKER }), "spares", "{ host, port }"],
    ["a spare broker without a port", also({ spares: [{ host: "b" }] }), "spares.port", "missing"],
    ["a spare broker that is a URL", also({ spares: [{ host: "mqtts://b", port: 1 }] }), "spares.host", "scheme"],
    ["a client id that a fleet would share", also({ clientId: "meter" }), "clientId", "{id}"],
    ["an empty user name", also({ username: "" }), "username", "a text"],
    ["a preset that is none", also({ preset: "aws" }), "preset", "hawser/presets"],
    ["an option nobody knows", also({ foo: 1 }), "foo", "protocolVersion"],
    ["protocol version 3", also({ protocolVersion: 3 }), "protocolVersion", '4, 5 or "auto"'],
    ["a protocol version as text", also({ protocolVersion: "5" }), "protocolVersion", '4, 5 or "auto"'],
    ["a keep-alive as text", also({ keepAliveSeconds: "60" }), "keepAliveSeconds", "5 to 65535"],
    ["an acknowledgement at once", also({ ackTimeoutMs: 0 }), "ackTimeoutMs", "5000 to 3600000"],
    ["a backoff without end", also({ backoff: { capMs: Infinity } }), "backoff.capMs", "milliseconds"],
    ["a backoff that is no number", also({ backoff: { baseMs: NaN } }), "backoff.baseMs", "milliseconds"],
    ["an unknown overflow", also({ outbox: { overflow: "newest" } }), "outbox.overflow", "drop-oldest"],
    [
      "an absolute will topic",
      also({ will: { topic: "devices/s1/up/status", payload: "x" } }),
      "will.topic",
      "must be a topic below the device's own",
    ],
    ["a will without payload", also({ will: { topic: "up/status" } }), "will.payload", "missing"],
    ["a will at QoS 3", also({ will: { topic: "up/status", payload: "", qos: 3 } }), "will.qos", "0, 1 or 2"],
    ["a redirect without a port", also({ redirects: ["b"] }), "redirects", "host:port"],
    ["a login that is no function", also({ login: { username: "u" } }), "login", "function"],
    ["a token without a lifetime", also({ token: { audience: "a" } }), "token.lifetimeSeconds", "missing"],
    ["a password credential without login", also({ credential: PASSWORD_CREDENTIAL }), "login", "missing"],
    ["a credential of another kind", also({ credential: { ...PASSWORD_CREDENTIAL, kind: "token" }, login }), "credential.kind", "password"],
    [
      "a password credential without an id",
      also({ credential: { ...PASSWORD_CREDENTIAL, id: undefined }, login }),
      "credential.id",
      "missing",
    ],
    ["an id that is no topic level", also({ credential: { ...PASSWORD_CREDENTIAL, id: "a/b" }, login }), "credential.id", "letters"],
    [
      "no trust anchors",
      also({ credential: { ...PASSWORD_CREDENTIAL, trustAnchors: [] }, login }),
      "credential.trustAnchors",
      "at least one",
    ],
    ["a token beside it", also({ credential: PASSWORD_CREDENTIAL, login, token: TOKEN }), "token", "must be left out"],
    ["a recovery beside it", also({ credential: PASSWORD_CREDENTIAL, login, recovery: BROKER }), "recovery", "must be left out"],
    ["enrolment beside it", also({ credential: PASSWORD_CREDENTIAL, login, enrolment: true }), "enrolment", "must be left out"],
    ["a recovery without enrolment", also({ recovery: BROKER, enrolment: false }), "recovery", "must be left out"],
    ["an empty ALPN name", broker({ alpn: "" }), "broker.alpn", "1 to 31"],
    ["a list of ALPN names", broker({ alpn: ["mqtt"] }), "broker.alpn", "1 to 31"],
    ["a token for a second", also({ token: { audience: "a", lifetimeSeconds: 1 } }), "token.lifetimeSeconds", "60 to 86400"],
  ])("%s", async (_, config, name, allowed) => {
    const error = await refusal(config);
    expect(error.code).toBe("BAD_CONFIG");
    expect(error.message.startsWith(`${name} `), error.message).toBe(true);
    expect(error.message).toContain(allowed);
  });

  it("no platform, or one that lacks a part", async () => {
    expect(await refusal(also({}), {} as Platform)).toMatchObject({ code: "BAD_CONFIG", message: "the platform has no clock" });
    expect(() => new Device({ broker: BROKER }, undefined as unknown as Platform)).toThrow(
      expect.objectContaining({ code: "BAD_CONFIG" }) as Error,
    );
  });
});

it("what is unusual and right is taken", async () => {
  const world = await World.provisioned();
  for (const host of ["::1", "fe80::1%eth0", "192.0.2.1", "LOCALHOST", "localhost.", "a_b.test"]) {
    expect(() => new Device({ broker: { host, port: 8883 } }, world.platform), host).not.toThrow();
  }
});

describe("A topic of the device", () => {
  it.each(["devices/s1/up/x", "devices/other/up/x", "/up/x", "$SYS/x", "", "up/+", 5, undefined])(
    "is refused when it is %j",
    async (topic) => {
      const world = await World.provisioned();
      const device = new Device({ broker: BROKER }, world.platform);
      const published = watch(device.publish(topic as string, "x", { qos: 1 }));
      await world.pass(0);
      expect([published.state, device.status.outbox.messages]).toEqual(["INVALID_TOPIC", 0]);
      if (topic !== "up/+")
        expect(() => device.subscribe(topic as string)).toThrow(expect.objectContaining({ code: "INVALID_FILTER" }) as Error);
    },
  );
});

describe("What `login` returns", () => {
  it("is no promise, and a password is text or bytes of at most 65,535 bytes, which no message shows", () => {
    const cases = [
      Promise.resolve({ password: "p" }),
      { password: "s3cret".repeat(20_000) },
      { password: 5 },
      { pass: "s3cret" },
      { username: "a\0" },
    ] as unknown[];
    for (const login of cases) {
      const attempt = (): unknown => checkLogin(login as { password: string });
      expect(attempt).toThrow(
        expect.objectContaining({ code: "BAD_CONFIG", message: expect.not.stringContaining("s3cret") as string }) as Error,
      );
    }
    expect(checkLogin({ username: "u", password: new Uint8Array(65_535) })).toMatchObject({ username: "u" });
  });

  it("ends the attempt as a failed login where it cannot be used", async () => {
    const world = await World.provisioned();
    const device = new Device({ broker: BROKER, login: () => ({ password: "x".repeat(70_000) }) }, world.platform);
    device.listen((event) => world.events.push(event));
    device.start();
    await world.pass(0);
    expect(world.of("disconnected")).toMatchObject([{ code: "LOGIN_FAILED", class: "local" }]);
  });
});

it("A trust anchor in PEM is refused with the words that say what is wanted", async () => {
  const credential = { ...PASSWORD_CREDENTIAL, trustAnchors: [new TextEncoder().encode("-----BEGIN CERTIFICATE-----")] };
  expect(await refusal(also({ credential, login }))).toMatchObject({ code: "UNSUPPORTED_CERTIFICATE" });
});
