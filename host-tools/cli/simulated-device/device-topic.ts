/** Where a simulated device may publish its telemetry. */
import { HawserError } from "../../../sdk/errors.js";

/** `devices/{id}/` with the longest id is 73 bytes of the 65,535 that MQTT allows. */
const MAX_TOPIC_BYTES = 65_535 - 73;

/**
 * Returns `topic` when a device may publish there, below `devices/{id}/`.
 * @throws HawserError `INVALID_TOPIC`
 */
export function checkTelemetryTopic(topic: string): string {
  if (!/^up\/[^+#\0]+$/u.test(topic) || Buffer.byteLength(topic) > MAX_TOPIC_BYTES) {
    const shown = topic.length > 100 ? `${topic.slice(0, 100)}...` : topic;
    throw new HawserError(
      "INVALID_TOPIC",
      `a device may not publish to ${JSON.stringify(shown)}`,
      "Use a topic that starts with up/ and has no '+', '#' or NUL, e.g. up/temperature.",
    );
  }
  return topic;
}
