import { describe, expect, test } from "vitest";
import {
  brokerUrl,
  hostAndPort,
  parseBaud,
  parseBrokerUrl,
  parseCount,
  parseDurationMs,
  parseFixedPort,
  parsePort,
  parsePositiveDurationMs,
} from "./flag-values.js";

describe("parseDurationMs", () => {
  test.each([
    ["500ms", 500],
    ["1s", 1000],
    ["2.5m", 150_000],
    ["1h", 3_600_000],
    ["3d", 259_200_000],
    ["0", 0],
    ["0s", 0],
  ])("reads %s", (text, ms) => {
    expect(parseDurationMs(text)).toBe(ms);
  });

  test.each(["", "1", "s", "-1s", "1 s", "1e3s", "25d", "1.2345s", "99999999999s", "1s1s", "Infinityms"])("refuses %j", (text) => {
    expect(() => parseDurationMs(text)).toThrow(expect.objectContaining({ code: "BAD_DURATION" }));
  });

  test("refuses no time at all where that makes no sense", () => {
    expect(() => parsePositiveDurationMs("0")).toThrow(expect.objectContaining({ code: "BAD_DURATION" }));
    expect(() => parsePositiveDurationMs("0.4ms")).toThrow(expect.objectContaining({ code: "BAD_DURATION" }));
  });
});

describe("ports and counts", () => {
  test("are whole numbers in range", () => {
    expect([parsePort("0"), parsePort("65535"), parseFixedPort("1"), parseCount("1000000")]).toEqual([0, 65535, 1, 1_000_000]);
  });

  test.each(["", "-1", "65536", "1.5", "0x10", " 1", "http"])("refuse %j as a port", (text) => {
    expect(() => parsePort(text)).toThrow(expect.objectContaining({ code: "BAD_PORT" }));
  });

  test("refuse port 0 where others have to know the port", () => {
    expect(() => parseFixedPort("0")).toThrow(expect.objectContaining({ code: "BAD_PORT" }));
  });

  test("refuse what is no fixed port without the advice to give 0", () => {
    for (const text of ["0", "abc"])
      expect(() => parseFixedPort(text)).toThrow(expect.objectContaining({ nextStep: "Use a number from 1 to 65535." }));
  });

  test("go up to every baud rate there is", () => {
    expect([parseBaud("300"), parseBaud("12000000")]).toEqual([300, 12_000_000]);
  });

  test.each(["0", "-1", "115200.5", "0115200", "fast", ""])("refuse %j as a baud rate", (text) => {
    expect(() => parseBaud(text)).toThrow(expect.objectContaining({ code: "BAD_BAUD" }));
  });

  test.each(["0", "-1", "1.5", "1000001", "many", ""])("refuse %j as a count", (text) => {
    expect(() => parseCount(text)).toThrow(expect.objectContaining({ code: "BAD_NUMBER" }));
  });
});

describe("parseBrokerUrl", () => {
  test.each([
    ["mqtts://localhost:8883", "localhost", 8883],
    ["mqtts://10.0.0.5:1/", "10.0.0.5", 1],
    ["mqtts://[::1]:8883", "::1", 8883],
    ["mqtts://my-broker.example.com:65535", "my-broker.example.com", 65535],
  ])("reads %s", (url, host, port) => {
    expect(parseBrokerUrl(url)).toEqual({ host, port });
  });

  test.each([
    "localhost:8883",
    "mqtts://localhost",
    "mqtts://localhost:0",
    "mqtts://localhost:65536",
    "mqtts://:8883",
    "mqtts://local host:8883",
    "mqtts://-x:1",
    "mqtts://a/b:1",
    "mqtts://localhost:8883/path",
    "mqtts://localhost:8883?x=1",
    "https://localhost:8883",
    "mqtts://a\u0000:1",
    `mqtts://${"a".repeat(254)}:1`,
    "",
  ])("refuses %j", (url) => {
    expect(() => parseBrokerUrl(url)).toThrow(expect.objectContaining({ code: "BAD_URL" }));
  });

  test.each(["mqtt://localhost:1883", "MQTT://localhost:1883", "tcp://localhost:1883", "ws://localhost:80"])(
    "says of %s that devices never speak plaintext",
    (url) => {
      expect(() => parseBrokerUrl(url)).toThrow(/devices always use TLS/);
    },
  );

  test.each(["mqtts", "mqtt"])("does not repeat a password that was put into a %s URL", (scheme) => {
    let message = "";
    try {
      parseBrokerUrl(`${scheme}://user:hunter2@localhost:1`);
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain("***@localhost");
    expect(message).not.toContain("hunter2");
  });

  test("has brackets around an IPv6 host only", () => {
    expect([hostAndPort({ host: "::1", port: 1 }), hostAndPort({ host: "127.0.0.1", port: 1 })]).toEqual(["[::1]:1", "127.0.0.1:1"]);
  });

  test("comes back as it was written", () => {
    for (const url of ["mqtts://localhost:8883", "mqtts://[::1]:8883"]) expect(brokerUrl(parseBrokerUrl(url))).toBe(url);
  });
});
