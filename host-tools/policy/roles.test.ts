import { describe, expect, it } from "vitest";
import { checkClientRole, checkDeviceRole, mayPublish, maySubscribe } from "./roles.js";
import { covers, isTopicFilter, unshared } from "./topic-filter.js";

describe("the policy", () => {
  it.each([
    ["devices/dev1/up/temperature", true],
    ["devices/dev1/up", true], // `up/#` includes its parent level, MQTT 5.0 section 4.7.1.2
    ["devices/dev1/identity/request", true],
    ["devices/dev1/identity/response", false],
    ["devices/dev1/down/led", false],
    ["devices/dev2/up/temperature", false],
    ["devices/dev10/up/temperature", false],
    ["devices/+/up/temperature", false],
    ["$SYS/broker/uptime", false],
    ["", false],
  ])("over mTLS a device publishes to %s: %s", (topic, expected) => {
    expect(mayPublish("dev1", "sensor", "full", topic)).toBe(expected);
  });

  it.each([
    ["devices/dev1/down/#", true],
    ["devices/dev1/down/led", true],
    ["$share/group/devices/dev1/down/#", true],
    ["$share//devices/dev1/down/#", false],
    ["devices/dev1/identity/response", true],
    ["devices/dev1/identity/#", false],
    ["devices/dev1/#", false],
    ["devices/+/down/#", false],
    ["#", false],
    ["+/#", false],
    ["devices/dev1/down/#/x", false],
  ])("over mTLS a device subscribes to %s: %s", (filter, expected) => {
    expect(maySubscribe("dev1", "sensor", "full", filter)).toBe(expected);
  });

  it("leaves a device on the PSK port nothing but its identity topics", () => {
    expect(mayPublish("dev1", "sensor", "recovery", "devices/dev1/identity/request")).toBe(true);
    expect(maySubscribe("dev1", "sensor", "recovery", "devices/dev1/identity/response")).toBe(true);
    expect(mayPublish("dev1", "sensor", "recovery", "devices/dev1/up/temperature")).toBe(false);
    expect(maySubscribe("dev1", "sensor", "recovery", "devices/dev1/down/#")).toBe(false);
    expect(mayPublish("dev1", "sensor", "recovery", "devices/dev2/identity/request")).toBe(false);
  });

  it("gives clients what their role says and nothing on the PSK port", () => {
    expect(maySubscribe("b", "backend", "full", "devices/+/up/#")).toBe(true);
    expect(maySubscribe("b", "backend", "full", "devices/#")).toBe(false);
    expect(mayPublish("b", "backend", "full", "devices/dev1/down/led")).toBe(true);
    expect(mayPublish("b", "backend", "full", "devices/dev1/up/x")).toBe(false);
    expect(maySubscribe("o", "operator", "full", "devices/#")).toBe(true);
    expect(maySubscribe("m", "monitor", "full", "$SYS/#")).toBe(true);
    expect(maySubscribe("o", "operator", "full", "$SYS/#")).toBe(false);
    expect(mayPublish("a", "authority", "full", "devices/dev1/identity/response")).toBe(true);
    expect(maySubscribe("a", "authority", "full", "$share/authority/devices/+/identity/request")).toBe(true);
    expect(mayPublish("a", "authority", "recovery", "devices/dev1/identity/response")).toBe(false);
  });

  it("never lets a device have a client's role, nor a client a device's", () => {
    expect(() => checkDeviceRole("backend")).toThrow(expect.objectContaining({ code: "INVALID_ROLE" }));
    expect(() => checkDeviceRole("Sensor 1")).toThrow(expect.objectContaining({ code: "INVALID_ROLE" }));
    expect(() => checkDeviceRole("constructor")).not.toThrow();
    expect(() => checkClientRole("sensor")).toThrow(expect.objectContaining({ code: "INVALID_ROLE" }));
    expect(() => checkClientRole("constructor")).toThrow(expect.objectContaining({ code: "INVALID_ROLE" }));
  });
});

describe("topic filters", () => {
  it.each([
    ["a/#", "a", true],
    ["a/#", "a/b/#", true],
    ["a/+", "a/b", true],
    ["a/+", "a/#", false],
    ["a/+", "a/+", true],
    ["a/b", "a/+", false],
    ["a/+/c", "a/b", false],
    ["a/+", "a/b/c", false],
    ["#", "$SYS/x", false],
    ["+/x", "$SYS/x", false],
  ])("%s covers %s: %s", (outer, inner, expected) => {
    expect(covers(outer, inner)).toBe(expected);
  });

  it("knows malformed filters and shares", () => {
    expect(isTopicFilter("a/#/b")).toBe(false);
    expect(isTopicFilter("a+/b")).toBe(false);
    expect(isTopicFilter("a/+/#")).toBe(true);
    expect(unshared("$share/g")).toBeUndefined();
    expect(unshared("$share/g+/a")).toBeUndefined();
    expect(unshared("$share/g/a/b")).toBe("a/b");
  });
});
