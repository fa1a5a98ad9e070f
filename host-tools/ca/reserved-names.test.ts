import { describe, expect, it } from "vitest";
import { checkClientName, checkDeviceName } from "./reserved-names.js";

const HOSTS = ["mqtt.example.com", "Broker-1"];
const reserved = expect.objectContaining({ code: "RESERVED_NAME" }) as unknown;

describe("reserved names", () => {
  it.each([
    "hawser-authority",
    "Hawser-Authority",
    "hawser-broker",
    "localhost",
    "LOCALHOST",
    "mqtt.example.com",
    "broker-1",
    "operator",
    "backend",
    "monitor",
    "authority",
  ])("keeps %s from devices", (name) => {
    expect(() => checkDeviceName(name, HOSTS)).toThrow(reserved);
  });

  it("keeps hosts and the authority's name from clients, and lets everything else through", () => {
    expect(() => checkClientName("localhost", "backend", HOSTS)).toThrow(reserved);
    expect(() => checkClientName("mqtt.example.com", "operator", HOSTS)).toThrow(reserved);
    expect(() => checkClientName("hawser-authority", "backend", HOSTS)).toThrow(reserved);
    expect(checkClientName("hawser-authority", "authority", HOSTS)).toBe("hawser-authority");
    expect(() => checkDeviceName("hawser-authority-1a2b3c4d", HOSTS)).toThrow(reserved);
    expect(() => checkClientName("Hawser-Authority-1a2b3c4d-requests", "backend", HOSTS)).toThrow(reserved);
    expect(checkClientName("hawser-authority-1a2b3c4d", "authority", HOSTS)).toBe("hawser-authority-1a2b3c4d");
    expect(checkClientName("operator", "operator", HOSTS)).toBe("operator");
    expect(checkDeviceName("sensor-1", HOSTS)).toBe("sensor-1");
  });
});
