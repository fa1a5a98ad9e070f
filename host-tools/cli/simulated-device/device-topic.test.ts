import { expect, test } from "vitest";
import { checkTelemetryTopic } from "./device-topic.js";

test.each(["up/temperature", "up/a/b/c", "up/Küche"])("%j is a telemetry topic", (topic) => {
  expect(checkTelemetryTopic(topic)).toBe(topic);
});

test.each([
  "",
  "up",
  "up/",
  "down/x",
  "identity/request",
  "up/+",
  "up/#",
  "up/a\u0000",
  "/up/x",
  "devices/other/up/x",
  `up/${"x".repeat(65_536)}`,
])("a topic like %.20j is refused in one short line", (topic) => {
  let message = "";
  expect(() => {
    try {
      checkTelemetryTopic(topic);
    } catch (error) {
      message = String(error);
      throw error;
    }
  }).toThrow(expect.objectContaining({ code: "INVALID_TOPIC" }));
  expect(message.length).toBeLessThan(200);
});
