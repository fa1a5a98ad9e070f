import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import { describe, expect, test } from "vitest";
import { FrameReader } from "./frame-reader.js";
import { PacketError } from "./packet-error.js";
import type { InboundPacket, OutboundPacket, ProtocolVersion, QoS } from "./packet-types.js";
import { encode } from "./packet-encoder.js";

const library = mqttPacket as unknown as {
  generate(packet: object, options: object): Uint8Array;
  parser(options: object): { on(event: string, listener: (value: never) => void): void; parse(bytes: Uint8Array): number };
};

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function byLibrary(packet: object, version: ProtocolVersion): Uint8Array {
  return new Uint8Array(library.generate(packet, { protocolVersion: version }));
}

function read(bytes: Uint8Array, version: ProtocolVersion, maximum = 1_000_000): InboundPacket[] {
  const packets: InboundPacket[] = [];
  new FrameReader(version, maximum, { packet: (packet) => packets.push(packet) }).feed(bytes);
  return packets;
}

function parsedByLibrary(bytes: Uint8Array, version: ProtocolVersion): Record<string, unknown> {
  const packets: Record<string, unknown>[] = [];
  const parser = library.parser({ protocolVersion: version });
  parser.on("packet", (packet: never) => packets.push(packet));
  parser.on("error", (error: never) => {
    throw error;
  });
  parser.parse(Buffer.from(bytes));
  expect(packets).toHaveLength(1);
  return packets[0] as Record<string, unknown>;
}

function fault(bytes: number[], version: ProtocolVersion = 5, maximum = 1_000_000): PacketError {
  try {
    read(Uint8Array.from(bytes), version, maximum);
  } catch (error) {
    expect(error).toBeInstanceOf(PacketError);
    return error as PacketError;
  }
  throw new Error("the packet was taken");
}

const text = fc.string({ unit: "grapheme", maxLength: 30 }).filter((value) => !value.includes("\0"));
const topic = text.filter((value) => value !== "" && !/[+#]/.test(value));
const bytes = fc.uint8Array({ maxLength: 300 });
/** mqtt-packet writes nothing at all for an empty list. */
const userProperties = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 });
const messageProperties = fc.record(
  {
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: fc.nat(0xffff_ffff),
    contentType: text,
    responseTopic: topic,
    correlationData: fc.uint8Array({ maxLength: 20 }),
    userProperties,
  },
  { requiredKeys: [] },
);

describe("writing", () => {
  test("a PUBLISH has the very bytes that mqtt-packet writes", () => {
    fc.assert(
      fc.property(
        topic,
        bytes,
        fc.constantFrom<QoS>(0, 1, 2),
        fc.boolean(),
        fc.boolean(),
        fc.integer({ min: 1, max: 65_535 }),
        messageProperties,
        fc.constantFrom<ProtocolVersion>(4, 5),
        (name, payload, qos, retain, dup, messageId, properties, version) => {
          const { correlationData, userProperties: pairs, ...others } = properties;
          const own = encode({ cmd: "publish", topic: name, payload, qos, retain, dup: dup && qos > 0, messageId, properties }, version);
          // In the same order as ours.
          const theirs = Object.fromEntries(
            Object.keys(properties).map((key) => {
              if (key === "correlationData") return [key, Buffer.from(correlationData ?? [])];
              if (key === "userProperties")
                return [key, (pairs ?? []).map(([n, v]) => Object.defineProperty({}, n, { value: v, enumerable: true }))];
              return [key, others[key as keyof typeof others]];
            }),
          );
          const expected = byLibrary(
            { cmd: "publish", topic: name, payload: Buffer.from(payload), qos, retain, dup: dup && qos > 0, messageId, properties: theirs },
            version,
          );
          expect(hex(own)).toBe(hex(expected));
        },
      ),
      { numRuns: 300 },
    );
  });

  test.each(["puback", "pubrec", "pubrel", "pubcomp"] as const)(
    "a %s of success has the very bytes that mqtt-packet writes, in both versions",
    (cmd) => {
      for (const version of [4, 5] as const) {
        const packet = { cmd, messageId: 0x1234, reasonCode: 0 };
        expect(hex(encode(packet, version))).toBe(hex(byLibrary(packet, version)));
      }
    },
  );

  test("a reason code goes without an empty property list behind it", () => {
    expect(hex(encode({ cmd: "pubrel", messageId: 1, reasonCode: 0x92 }, 5))).toBe("6203000192");
    expect(parsedByLibrary(encode({ cmd: "pubrel", messageId: 1, reasonCode: 0x92 }, 5), 5)).toMatchObject({
      cmd: "pubrel",
      reasonCode: 0x92,
    });
  });

  test("an orderly DISCONNECT is two bytes in both versions, one with a reason three", () => {
    expect(hex(encode({ cmd: "disconnect", reasonCode: 0 }, 4))).toBe("e000");
    expect(hex(encode({ cmd: "disconnect", reasonCode: 0 }, 5))).toBe("e000");
    expect(hex(encode({ cmd: "disconnect", reasonCode: 0x82 }, 5))).toBe("e00182");
    expect(parsedByLibrary(encode({ cmd: "disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 9 } }, 5), 5)).toMatchObject({
      reasonCode: 4,
      properties: { sessionExpiryInterval: 9 },
    });
  });

  test("CONNECT carries a binary password, a binary will and all properties, as mqtt-packet reads them", () => {
    const packet: OutboundPacket = {
      cmd: "connect",
      protocolVersion: 5,
      clientId: "gerät",
      clean: false,
      keepalive: 60,
      username: "user",
      password: Uint8Array.of(0, 255, 128),
      will: {
        topic: "will/ü",
        payload: Uint8Array.of(0, 200),
        qos: 2,
        retain: true,
        properties: { willDelayInterval: 5, userProperties: [["a", "1"]] },
      },
      properties: {
        sessionExpiryInterval: 100,
        receiveMaximum: 20,
        userProperties: [
          ["b", "1"],
          ["a", "2"],
          ["b", "3"],
        ],
      },
    };
    expect(parsedByLibrary(encode(packet, 5), 5)).toMatchObject({
      clientId: "gerät",
      clean: false,
      keepalive: 60,
      username: "user",
      password: Buffer.from([0, 255, 128]),
      will: {
        topic: "will/ü",
        payload: Buffer.from([0, 200]),
        qos: 2,
        retain: true,
        properties: { willDelayInterval: 5, userProperties: { a: "1" } },
      },
      properties: { sessionExpiryInterval: 100, receiveMaximum: 20, userProperties: { b: ["1", "3"], a: "2" } },
    });
  });

  test.each([1, 100, 300])("CONNECT carries a password of %i bytes without a user name in 5.0", (sizeBytes) => {
    const password = new Uint8Array(sizeBytes).fill(0xff);
    const packet: OutboundPacket = {
      cmd: "connect",
      protocolVersion: 5,
      clientId: "c",
      clean: true,
      keepalive: 60,
      password,
      will: { topic: "w", payload: Uint8Array.of(1), qos: 1, retain: false },
    };
    const parsed = parsedByLibrary(encode(packet, 5), 5);
    expect(parsed).toMatchObject({
      clientId: "c",
      clean: true,
      keepalive: 60,
      password: Buffer.from(password),
      will: { topic: "w", qos: 1 },
    });
    expect(parsed).not.toHaveProperty("username", expect.any(String));
  });

  test("user properties keep their order in every packet", () => {
    const pairs: [string, string][] = [
      ["b", "1"],
      ["a", "2"],
      ["b", "3"],
    ];
    const order = Buffer.from("2600016200013126000161000132260001620001" + "33", "hex").toString("hex");
    for (const packet of [
      { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t", qos: 0 }], properties: { userProperties: pairs } },
      {
        cmd: "publish",
        topic: "t",
        payload: new Uint8Array(0),
        qos: 0,
        retain: false,
        dup: false,
        messageId: 0,
        properties: { userProperties: pairs },
      },
      { cmd: "disconnect", reasonCode: 0, properties: { userProperties: pairs } },
    ] as OutboundPacket[]) {
      expect(hex(encode(packet, 5))).toContain(order);
    }
  });

  test("SUBSCRIBE and UNSUBSCRIBE say what mqtt-packet reads", () => {
    const subscribe: OutboundPacket = {
      cmd: "subscribe",
      messageId: 7,
      subscriptions: [{ topic: "a/+", qos: 1, nl: true, rap: true, rh: 2 }],
      properties: { subscriptionIdentifier: 300 },
    };
    expect(parsedByLibrary(encode(subscribe, 5), 5)).toMatchObject({
      messageId: 7,
      subscriptions: [{ topic: "a/+", qos: 1, nl: true, rap: true, rh: 2 }],
      properties: { subscriptionIdentifier: 300 },
    });
    expect(hex(encode({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a", qos: 2 }] }, 4))).toBe("820600010001" + "6102");
    expect(hex(encode({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["a"] }, 4))).toBe("a2050002000161");
  });

  test("no user properties are the same as none given", () => {
    const packet: OutboundPacket = { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a", qos: 0 }] };
    expect(hex(encode({ ...packet, properties: { userProperties: [] } }, 5))).toBe(hex(encode(packet, 5)));
  });

  test("what cannot be written is a typed error", () => {
    const packet: OutboundPacket = { cmd: "connect", protocolVersion: 4, clientId: "x".repeat(65_536), clean: false, keepalive: 0 };
    expect(() => encode(packet, 4)).toThrowError(expect.objectContaining({ code: "INVALID_PACKET" }));
  });
});

describe("reading", () => {
  test("a PUBLISH is what mqtt-packet wrote, however it is cut", () => {
    fc.assert(
      fc.property(
        topic,
        bytes,
        fc.constantFrom<QoS>(0, 1, 2),
        fc.boolean(),
        fc.integer({ min: 1, max: 65_535 }),
        userProperties,
        fc.array(fc.nat(40), { minLength: 1, maxLength: 20 }),
        fc.constantFrom<ProtocolVersion>(4, 5),
        (name, payload, qos, retain, messageId, pairs, cuts, version) => {
          const properties = {
            userProperties: pairs.map(([n, v]) => Object.defineProperty({}, n, { value: v, enumerable: true })),
            subscriptionIdentifier: [5, 70_000],
          };
          const wire = byLibrary(
            { cmd: "publish", topic: name, payload: Buffer.from(payload), qos, retain, dup: false, messageId, properties },
            version,
          );
          const packets: InboundPacket[] = [];
          const reader = new FrameReader(version, 1_000_000, { packet: (packet) => packets.push(packet) });
          for (let at = 0, n = 0; at < wire.length; n++) {
            const size = Math.max(1, cuts[n % cuts.length] as number);
            reader.feed(wire.slice(at, at + size));
            at += size;
          }
          expect(packets).toHaveLength(1);
          expect(packets[0]).toMatchObject({ cmd: "publish", topic: name, qos, retain, messageId: qos > 0 ? messageId : 0 });
          const [packet] = packets;
          if (packet?.cmd !== "publish") return;
          expect(hex(packet.payload)).toBe(hex(payload));
          if (version === 5) expect(packet.properties).toEqual({ subscriptionIdentifiers: [5, 70_000], userProperties: pairs });
        },
      ),
      { numRuns: 300 },
    );
  });

  test("CONNACK, SUBACK, UNSUBACK, DISCONNECT and AUTH are what mqtt-packet wrote", () => {
    const connack = {
      sessionPresent: true,
      reasonCode: 0,
      properties: { receiveMaximum: 20, assignedClientIdentifier: "x", serverKeepAlive: 5, maximumQoS: 1, retainAvailable: false },
    };
    expect(read(byLibrary({ cmd: "connack", ...connack }, 5), 5)).toEqual([{ cmd: "connack", ...connack, legacyForm: false }]);
    expect(read(byLibrary({ cmd: "connack", sessionPresent: true, returnCode: 0 }, 4), 4)).toEqual([
      { cmd: "connack", sessionPresent: true, reasonCode: 0, legacyForm: true },
    ]);
    expect(read(byLibrary({ cmd: "suback", messageId: 9, granted: [0, 2, 0x87] }, 5), 5)).toEqual([
      { cmd: "suback", messageId: 9, granted: [0, 2, 0x87] },
    ]);
    expect(read(byLibrary({ cmd: "suback", messageId: 9, granted: [1, 0x80] }, 4), 4)).toEqual([
      { cmd: "suback", messageId: 9, granted: [1, 0x80] },
    ]);
    expect(read(byLibrary({ cmd: "unsuback", messageId: 9, granted: [0x11] }, 5), 5)).toEqual([
      { cmd: "unsuback", messageId: 9, granted: [0x11] },
    ]);
    expect(read(byLibrary({ cmd: "unsuback", messageId: 9 }, 4), 4)).toEqual([{ cmd: "unsuback", messageId: 9, granted: [] }]);
    expect(read(byLibrary({ cmd: "disconnect", reasonCode: 0x9d, properties: { serverReference: "b:1" } }, 5), 5)).toEqual([
      { cmd: "disconnect", reasonCode: 0x9d, properties: { serverReference: "b:1" } },
    ]);
    expect(
      read(
        byLibrary({ cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod: "m", authenticationData: Buffer.from([1]) } }, 5),
        5,
      ),
    ).toMatchObject([{ cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod: "m" } }]);
  });

  test("short forms are read as success", () => {
    expect(read(Uint8Array.of(0xe0, 0), 5)).toEqual([{ cmd: "disconnect", reasonCode: 0 }]);
    expect(read(Uint8Array.of(0xe0, 1, 0x8e), 5)).toEqual([{ cmd: "disconnect", reasonCode: 0x8e }]);
    expect(read(Uint8Array.of(0x40, 2, 0, 1, 0x50, 3, 0, 2, 0x87, 0xd0, 0), 5)).toEqual([
      { cmd: "puback", messageId: 1, reasonCode: 0 },
      { cmd: "pubrec", messageId: 2, reasonCode: 0x87 },
      { cmd: "pingresp" },
    ]);
  });

  test("a reason code nobody has heard of is read all the same", () => {
    expect(read(Uint8Array.of(0x40, 3, 0, 1, 0xef), 5)).toEqual([{ cmd: "puback", messageId: 1, reasonCode: 0xef }]);
    expect(read(Uint8Array.of(0xe0, 1, 0xef), 5)).toEqual([{ cmd: "disconnect", reasonCode: 0xef }]);
  });

  test("a broker of 3.1.1 may refuse 5.0 in its own form, and a broker of 5.0 may refuse 3.1.1 in its own", () => {
    expect(read(Uint8Array.of(0x20, 2, 0, 1), 5)).toEqual([{ cmd: "connack", sessionPresent: false, reasonCode: 1, legacyForm: true }]);
    expect(read(Uint8Array.of(0x20, 3, 0, 0x84, 0), 4)).toEqual([
      { cmd: "connack", sessionPresent: false, reasonCode: 0x84, legacyForm: false },
    ]);
    expect(fault([0x20, 2, 0, 0], 5).reasonCode).toBe(0x81);
  });

  test.each<[string, number[], ProtocolVersion, number]>([
    ["packet type 0", [0x00, 0], 5, 0x81],
    ["flags that are not allowed", [0x41, 2, 0, 1], 5, 0x81],
    ["PUBREL without its flags", [0x60, 2, 0, 1], 5, 0x81],
    ["a packet only clients send", [0xc0, 0], 5, 0x82],
    ["a CONNECT", [0x10, 0], 5, 0x82],
    ["AUTH in 3.1.1", [0xf0, 0], 4, 0x82],
    ["DISCONNECT in 3.1.1", [0xe0, 0], 4, 0x82],
    ["a length of five bytes", [0x30, 0x80, 0x80, 0x80, 0x80, 0x01], 5, 0x81],
    ["a length written too long", [0xd0, 0x80, 0x00], 5, 0x81],
    ["PINGRESP with a body", [0xd0, 1, 0], 5, 0x81],
    ["a PUBLISH of no bytes", [0x30, 0], 4, 0x81],
    ["QoS 3", [0x36, 5, 0, 1, 97, 0, 1], 4, 0x81],
    ["DUP at QoS 0", [0x38, 3, 0, 1, 97], 4, 0x81],
    ["a topic past the end", [0x30, 3, 0, 9, 97], 4, 0x81],
    ["an empty topic", [0x30, 2, 0, 0], 4, 0x82],
    ["an empty topic without an alias", [0x30, 3, 0, 0, 0], 5, 0x82],
    ["a wildcard topic", [0x30, 3, 0, 1, 0x23], 4, 0x81],
    ["a topic that is not UTF-8", [0x30, 4, 0, 2, 0xc0, 0x80], 4, 0x81],
    ["a topic with a surrogate", [0x30, 5, 0, 3, 0xed, 0xa0, 0x80], 4, 0x81],
    ["a topic with NUL", [0x30, 3, 0, 1, 0], 4, 0x81],
    ["packet identifier 0 in PUBLISH", [0x32, 5, 0, 1, 97, 0, 0], 4, 0x81],
    ["packet identifier 0 in PUBACK", [0x40, 2, 0, 0], 4, 0x81],
    ["a cut PUBACK", [0x40, 1, 0], 4, 0x81],
    ["a PUBACK that is too long", [0x40, 3, 0, 1, 0], 4, 0x81],
    ["CONNACK with reserved flags", [0x20, 2, 2, 0], 4, 0x81],
    ["CONNACK without a code", [0x20, 1, 0], 4, 0x81],
    ["SUBACK without a code", [0x90, 2, 0, 1], 4, 0x81],
    ["an unknown property", [0x30, 6, 0, 1, 97, 2, 0x7f, 0], 5, 0x81],
    ["a property of another packet", [0x30, 9, 0, 1, 97, 5, 0x11, 0, 0, 0, 0], 5, 0x82],
    ["a property of another packet, cut short", [0x30, 8, 0, 1, 97, 4, 0x11, 0, 0, 0], 5, 0x81],
    ["a flag without a value before a payload", [0x30, 6, 0, 1, 97, 1, 0x01, 2], 5, 0x81],
    ["properties past the end", [0x30, 5, 0, 1, 97, 9, 1], 5, 0x81],
    ["a property past the properties", [0x30, 9, 0, 1, 97, 2, 0x02, 0, 0, 0, 1], 5, 0x81],
    ["a property twice", [0x30, 8, 0, 1, 97, 4, 0x01, 0, 0x01, 0], 5, 0x82],
    ["a flag that is 2", [0x30, 6, 0, 1, 97, 2, 0x01, 2], 5, 0x82],
    ["subscription identifier 0", [0x30, 6, 0, 1, 97, 2, 0x0b, 0], 5, 0x82],
    ["receive maximum 0", [0x20, 6, 0, 0, 3, 0x21, 0, 0], 5, 0x82],
    ["maximum QoS 2", [0x20, 5, 0, 0, 2, 0x24, 2], 5, 0x82],
  ])("%s is refused with the right reason", (_, wire, version, reasonCode) => {
    expect(fault(wire, version).reasonCode).toBe(reasonCode);
  });

  test("a packet larger than allowed is refused before its body comes", () => {
    const error = fault([0x30, 0xff, 0xff, 0x7f], 5, 100);
    expect([error.failureCode, error.reasonCode]).toEqual(["PACKET_TOO_LARGE", 0x95]);
    expect(read(Uint8Array.of(0x30, 98, 0, 1, 97, 0, ...new Uint8Array(94)), 5, 100)).toHaveLength(1);
  });

  test("nothing read changes with the bytes it was read from, not even when those are a Buffer", () => {
    const wire = Buffer.from([0x30, 6, 0, 1, 97, 65, 66, 67]);
    const [packet] = read(wire, 4);
    wire.fill(0);
    expect(packet).toMatchObject({ topic: "a", payload: Uint8Array.of(65, 66, 67) });
  });

  test("after stop nothing more is reported, not even from the piece at hand", () => {
    const packets: InboundPacket[] = [];
    const reader = new FrameReader(4, 100, {
      packet: (packet) => {
        packets.push(packet);
        reader.stop();
      },
    });
    reader.feed(Uint8Array.of(0xd0, 0, 0xd0, 0));
    expect(packets).toHaveLength(1);
  });

  test("whatever bytes come in whatever pieces end in packets or a PacketError, and both the same", () => {
    const seeds = fc.constantFrom(
      byLibrary(
        {
          cmd: "publish",
          topic: "a/b",
          payload: "hello",
          qos: 1,
          messageId: 5,
          properties: { contentType: "x", userProperties: { a: "b" } },
        },
        5,
      ),
      byLibrary({ cmd: "connack", sessionPresent: false, reasonCode: 0, properties: { receiveMaximum: 20, reasonString: "ok" } }, 5),
      byLibrary({ cmd: "suback", messageId: 3, granted: [1] }, 5),
      byLibrary({ cmd: "disconnect", reasonCode: 0x8b, properties: { reasonString: "bye" } }, 5),
    );
    const mutated = fc.tuple(seeds, fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 4 })).map(([seed, changes]) => {
      const copy = Uint8Array.from(seed);
      for (const [at, value] of changes) copy[at % copy.length] = value;
      return copy;
    });
    const input = fc.oneof(fc.uint8Array({ maxLength: 60 }), mutated);
    const outcome = (pieces: Uint8Array[], version: ProtocolVersion): string => {
      const packets: InboundPacket[] = [];
      const reader = new FrameReader(version, 500, { packet: (packet) => packets.push(packet) });
      try {
        for (const piece of pieces) reader.feed(piece);
      } catch (error) {
        if (!(error instanceof PacketError)) throw error;
        return JSON.stringify([packets, error.failureCode, error.reasonCode]);
      }
      return JSON.stringify(packets);
    };
    fc.assert(
      fc.property(
        fc.array(input, { minLength: 1, maxLength: 3 }),
        fc.nat(8),
        fc.constantFrom<ProtocolVersion>(4, 5),
        (parts, size, version) => {
          const whole = Uint8Array.from(parts.flatMap((part) => [...part]));
          const pieces = Array.from({ length: Math.ceil(whole.length / (size + 1)) }, (_, n) =>
            whole.slice(n * (size + 1), (n + 1) * (size + 1)),
          );
          expect(outcome(pieces, version)).toBe(outcome([whole], version));
        },
      ),
      { numRuns: 5_000 },
    );
  });
});

test("the names in user properties mean nothing to the client", () => {
  const wire = encode(
    {
      cmd: "publish",
      topic: "t",
      payload: new Uint8Array(0),
      qos: 0,
      retain: false,
      dup: false,
      messageId: 0,
      properties: {
        userProperties: [
          ["__proto__", "x"],
          ["constructor", "y"],
        ],
      },
    },
    5,
  );
  expect(read(wire, 5)).toMatchObject([
    {
      properties: {
        userProperties: [
          ["__proto__", "x"],
          ["constructor", "y"],
        ],
      },
    },
  ]);
});

test("what a broker says with SUBACK and UNSUBACK is read", () => {
  const properties = { reasonString: "why", userProperties: { a: "b" } };
  for (const cmd of ["suback", "unsuback"]) {
    const [packet] = read(byLibrary({ cmd, messageId: 5, granted: [0], properties }, 5), 5);
    expect(packet).toEqual({ cmd, messageId: 5, granted: [0], properties: { reasonString: "why", userProperties: [["a", "b"]] } });
  }
});
