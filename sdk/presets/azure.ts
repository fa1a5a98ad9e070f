import { brokerPreset, type BrokerPreset } from "./broker-preset.js";

/** The MQTT broker of Azure Event Grid, with certificates. What else it wants of you: docs/any-broker.md. */
export const azureEventGrid: BrokerPreset = brokerPreset({
  broker: "Azure Event Grid",
  ports: { 8883: undefined },
  factor: "certificate",
  keepAliveSeconds: [5, 1_160],
  maximumQos: 1,
  takesRetain: false,
  maximumPacketBytes: 524_288,
  maximumWillDelaySeconds: 300,
  takesSharedSubscriptions: false,
  takesSubscriptionIdentifiers: false,
  takesSubscriptionProperties: false,
});

/** A device of an Azure IoT hub, with its certificate or a SAS token as password. What else it wants of you: docs/any-broker.md. */
export const azureIotHub: BrokerPreset = brokerPreset({
  broker: "Azure IoT Hub",
  ports: { 8883: undefined },
  username: { pattern: /^[^/]+\/\{id\}\/\?api-version=[\d-]+/, form: "HUB.azure-devices.net/{id}/?api-version=2021-04-12" },
  takesEnrolment: false,
  protocolVersions: [4],
  keepAliveSeconds: [5, 1_177],
  maximumQos: 1,
  takesRetain: false,
  maximumPayloadBytes: 262_144,
  topics: {
    names: /^devices\/[^/]+\/messages\/events\/|^\$iothub\/(?:twin\/(?:GET|PATCH)|methods\/res)\//,
    filters: /^devices\/[^/]+\/messages\/devicebound\/#$|^\$iothub\/(?:twin\/res|twin\/PATCH\/properties\/desired|methods\/POST)\/#$/,
    form: "only the topics of the table below",
  },
});

/** The Device Provisioning Service, which tells a device its hub. The exchange: docs/any-broker.md. */
export const azureDps: BrokerPreset = brokerPreset({
  broker: "Azure DPS",
  ports: { 8883: undefined },
  username: { pattern: /^[^/]+\/registrations\/\{id\}\/api-version=[\d-]+/, form: "ID_SCOPE/registrations/{id}/api-version=2019-03-31" },
  takesEnrolment: false,
  protocolVersions: [4],
  maximumQos: 1,
  topics: {
    names: /^\$dps\/registrations\/(?:PUT\/iotdps-register|GET\/iotdps-get-operationstatus)\/\?\$rid=/,
    filters: /^\$dps\/registrations\/res\/#$/,
    form: "only topics below $dps/registrations/",
  },
});
