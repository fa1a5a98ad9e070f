/** The topic catalogue as an AsyncAPI 3.0 document (asyncapi.com/docs/reference/specification/v3.0.0), written from the devices' side. */
import type { Channel, Listener, Policy } from "./policy-model.js";
import { templateText } from "./topic-template.js";

type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

export function asyncApi(policy: Policy, host: string): Json {
  const channels = [...policy.classes.values()].flatMap(({ channels: own }) => [...own.values()]);
  return {
    asyncapi: "3.0.0",
    info: {
      title: `Topics of ${policy.name}`,
      version: "1",
      ...(policy.description === undefined ? {} : { description: policy.description }),
    },
    defaultContentType: "application/octet-stream",
    servers: Object.fromEntries([...policy.listeners.values()].map((listener) => [listener.name, serverOf(listener, host)])),
    channels: Object.fromEntries(channels.map((channel) => [keyOf(channel), channelOf(channel)])),
    operations: Object.fromEntries(
      channels.map((channel) => [`${keyOf(channel)}-${channel.direction === "up" ? "send" : "receive"}`, operationOf(channel)]),
    ),
    components: { securitySchemes: securitySchemes(policy) },
  };
}

function keyOf({ className, name }: Channel): string {
  return `${className}-${name}`;
}

/** MQTT over TLS has the protocol name `secure-mqtt`. */
function serverOf({ port, requires, scope, websocket }: Listener, host: string): Json {
  return {
    host: `${host}:${port}`,
    protocol: websocket ? "wss" : "secure-mqtt",
    description: scope === "full" ? "All rights" : "Recovery: a device gets a new certificate here and can do nothing else",
    security: requires.map((factor) => ({ $ref: `#/components/securitySchemes/${factor}` })),
  };
}

function channelOf(channel: Channel): Json {
  const names = [...new Set(channel.template.flatMap((level) => (level.kind === "placeholder" ? [level.name] : [])))];
  return {
    address: templateText(channel.template),
    ...(channel.description === undefined ? {} : { description: channel.description }),
    messages: { message: messageOf(channel) },
    ...(names.length === 0
      ? {}
      : {
          parameters: Object.fromEntries(
            names.map((name) => [name, { description: name === "id" ? "The device's id" : `The device's ${name}` }]),
          ),
        }),
  };
}

function messageOf({ schema, maxBytes }: Channel): Json {
  return {
    ...(schema === undefined ? {} : { contentType: "application/json", payload: { $ref: schema } }),
    ...(maxBytes === undefined ? {} : { description: `At most ${maxBytes} bytes` }),
  };
}

function operationOf(channel: Channel): Json {
  const { qos, retain, direction } = channel;
  return {
    action: direction === "up" ? "send" : "receive",
    channel: { $ref: `#/channels/${keyOf(channel)}` },
    bindings: {
      mqtt: {
        ...(qos === undefined ? {} : { qos }),
        ...(retain === undefined || direction === "down" ? {} : { retain }),
        bindingVersion: "0.2.0",
      },
    },
  };
}

function securitySchemes(policy: Policy): Json {
  const all = {
    certificate: { type: "X509", description: "A client certificate; its common name is the device's id" },
    psk: { type: "symmetricEncryption", description: "A TLS pre-shared key; its identity is the device's id" },
    password: { type: "userPassword" },
    token: { type: "userPassword", description: "A JSON Web Token (ES256) by the device's key in the password's place" },
  } as const;
  const used = new Set([...policy.listeners.values()].flatMap(({ requires }) => requires));
  return Object.fromEntries(Object.entries(all).filter(([factor]) => used.has(factor as keyof typeof all)));
}
