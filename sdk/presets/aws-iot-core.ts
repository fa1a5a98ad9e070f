import { brokerPreset, type BrokerPreset } from "./broker-preset.js";

/** AWS IoT Core with certificates, over 8883 or the port that firewalls leave open. What else it wants of you: docs/any-broker.md. */
export const awsIotCore: BrokerPreset = brokerPreset({
  broker: "AWS IoT Core",
  ports: { 443: "x-amzn-mqtt-ca", 8883: undefined },
  factor: "certificate",
  keepAliveSeconds: [30, 1_200],
  maximumQos: 1,
  maximumPayloadBytes: 131_072,
  maximumSlashes: 7,
  maximumTopicBytes: 256,
  // Basic Ingest: the way to a rule is no part of the topic.
  uncounted: /^\$aws\/rules\/[^/]+\//,
});
