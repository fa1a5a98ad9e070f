import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import type { EnhancedAuthentication } from "../index.js";
import { SessionWorld, watch } from "../../../test/support/mqtt/session-world.js";
import type { PacketLibrary } from "../../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;

/** Answers each challenge with its bytes plus one. */
class Hooks implements EnhancedAuthentication {
  readonly method = "PLUS-ONE";
  readonly finals: (Uint8Array | undefined)[] = [];

  start(): Uint8Array | undefined {
    return Uint8Array.of(1);
  }

  respond(data: Uint8Array | undefined): Uint8Array | Promise<Uint8Array> {
    if (data?.[0] === 99) throw new Error("bad challenge");
    return Promise.resolve(Uint8Array.from(data ?? [], (byte) => byte + 1));
  }

  finish(data: Uint8Array | undefined): void {
    this.finals.push(data);
    if (data?.[0] === 66) throw new Error("bad proof");
  }
}

const auth = (reasonCode: number, data?: number, authenticationMethod = "PLUS-ONE") => ({
  cmd: "auth",
  reasonCode,
  properties: { authenticationMethod, ...(data !== undefined && { authenticationData: Buffer.from([data]) }) },
});

const success = (data?: number) => ({ properties: auth(0, data).properties });

async function attempt(): Promise<{ w: SessionWorld; hooks: Hooks; outcome: { state: string } }> {
  const hooks = new Hooks();
  const w = new SessionWorld(library, { authentication: hooks });
  const outcome = watch(w.client.connect(w.broker.dial));
  await w.time.pass(0);
  return { w, hooks, outcome };
}

describe("enhanced authentication", () => {
  test("goes through as many steps as the broker wants, and judges its last word", async () => {
    const { w, hooks, outcome } = await attempt();
    expect(w.broker.received[0]).toMatchObject({ properties: { authenticationMethod: "PLUS-ONE", authenticationData: Buffer.from([1]) } });
    await w.broker.send(auth(0x18, 10));
    await w.broker.send(auth(0x18, 20));
    expect(
      w.broker
        .of("auth")
        .map(({ reasonCode, properties }) => [reasonCode, (properties as { authenticationData: Buffer }).authenticationData[0]]),
    ).toEqual([
      [0x18, 11],
      [0x18, 21],
    ]);
    await w.broker.connack(success(5));
    expect([outcome.state, hooks.finals]).toEqual(["resolved", [Uint8Array.of(5)]]);
  });

  test.each([
    ["a challenge the application refuses", auth(0x18, 99), "BAD_AUTHENTICATION_METHOD"],
    ["another method", auth(0x18, 1, "OTHER"), "PROTOCOL_ERROR"],
    ["AUTH with success before CONNACK", auth(0, 1), "PROTOCOL_ERROR"],
  ])("%s ends the attempt", async (_, packet, code) => {
    const { w, outcome } = await attempt();
    await w.broker.send(packet);
    expect(outcome.state).toBe(code);
  });

  test.each([
    ["without the method", {}, "PROTOCOL_ERROR"],
    ["with a proof that is none", success(66), "BAD_AUTHENTICATION_METHOD"],
  ])("CONNACK %s ends the attempt", async (_, connack, code) => {
    const { w, outcome } = await attempt();
    await w.broker.connack(connack);
    expect(outcome.state).toBe(code);
    expect(w.client.connected).toBe(false);
  });

  test("can be done again while connected, once at a time", async () => {
    const { w } = await attempt();
    await w.broker.connack(success());
    const again = watch(w.client.reauthenticate());
    await expect(w.client.reauthenticate()).rejects.toMatchObject({ code: "ALREADY_AUTHENTICATING" });
    await w.time.pass(0);
    expect(w.broker.of("auth")).toMatchObject([{ reasonCode: 0x19 }]);
    await w.broker.send(auth(0x18, 30));
    await w.broker.send(auth(0));
    expect([again.state, w.broker.of("auth").length]).toEqual(["resolved", 2]);
    const cutOff = watch(w.client.reauthenticate());
    await w.cut();
    expect(cutOff.state).toBe("NOT_CONNECTED");
    await expect(w.client.reauthenticate()).rejects.toMatchObject({ code: "NOT_CONNECTED" });
  });

  test("refused while connected, the connection ends with a DISCONNECT", async () => {
    const { w } = await attempt();
    await w.broker.connack(success());
    void w.client.reauthenticate().catch(() => undefined);
    await w.broker.send(auth(0x18, 99));
    await w.time.pass(0);
    expect([w.broker.of("disconnect")[0]?.reasonCode, w.ends[0]?.code]).toEqual([0x80, "BAD_AUTHENTICATION_METHOD"]);
  });

  test("an application that cannot begin again hears of it by the promise, and stays connected", async () => {
    const { w, hooks } = await attempt();
    await w.broker.connack(success());
    hooks.start = () => {
      throw new Error("the token is gone");
    };
    const again = w.client.reauthenticate();
    await expect(again).rejects.toThrow("the token is gone");
    expect([w.client.connected, w.broker.of("auth")]).toEqual([true, []]);
  });

  test("a challenge while connected that answers nothing is a protocol error", async () => {
    const { w } = await attempt();
    await w.broker.connack(success());
    await w.broker.send(auth(0x18, 1));
    expect([w.ends[0]?.code, w.broker.of("auth")]).toEqual(["PROTOCOL_ERROR", []]);
  });

  test("AUTH that nobody asked for is a protocol error", async () => {
    const w = new SessionWorld(library);
    await w.connect();
    await expect(w.client.reauthenticate()).rejects.toMatchObject({ code: "NOT_CONNECTED" });
    await w.broker.send(auth(0x18, 1));
    expect(w.ends).toMatchObject([{ code: "PROTOCOL_ERROR" }]);
  });

  test("an answer that comes after the end is not sent", async () => {
    let answer: (data: Uint8Array) => void = () => undefined;
    const w = new SessionWorld(library, {
      authentication: { method: "M", start: () => undefined, respond: () => new Promise((resolve) => (answer = resolve)) },
    });
    const outcome = watch(w.client.connect(w.broker.dial));
    await w.time.pass(0);
    await w.broker.send(auth(0x18, 1, "M"));
    await w.cut();
    answer(Uint8Array.of(1));
    await w.time.pass(0);
    expect([outcome.state, w.broker.of("auth")]).toEqual(["CONNECTION_RESET", []]);
  });
});
