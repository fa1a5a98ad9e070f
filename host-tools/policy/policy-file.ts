/** Makes a {@link Policy} of its text: every name in it resolved, every role's rules worked out. */
import { HawserError } from "../../sdk/errors.js";
import type { AttributeDefinition, Bridge, Channel, DeviceClass, Factor, Limits, Listener, Policy, Qos } from "./policy-model.js";
import { entriesOf, PolicyReader } from "./policy-reader.js";
import type { Path, Raw } from "./policy-reader.js";
import { PolicyError, readPolicyText } from "./policy-text.js";
import type { PolicyText } from "./policy-text.js";
import { RoleReader } from "./role-reader.js";
import { parseTemplate } from "./topic-template.js";
import { isTopicFilter } from "./topic-filter.js";

/**
 * Reads a policy.
 * @param file for messages
 * @throws PolicyError with all that is wrong
 */
export function parsePolicy(text: string, file: string): Policy {
  return policyOf(readPolicyText(text, file), file);
}

/** As {@link parsePolicy}, of a text that is part of this program: not held against the schema again. */
export function parseBuiltInPolicy(text: string, file: string): Policy {
  return policyOf(readPolicyText(text, file, true), file);
}

function policyOf(text: PolicyText, file: string): Policy {
  const reader = new PolicyReader(text);
  const { value } = reader;
  const attributes = readAttributes(reader);
  const tenant = value["tenant"] as string | undefined;
  if (tenant !== undefined && !attributes.has(tenant))
    reader.fault(["tenant"], `the tenant attribute ${tenant} is not declared under attributes`);
  const listeners = readListeners(reader);
  const classes = readClasses(reader, attributes);
  const roles = new RoleReader(reader, { attributes, listeners, classes, tenant }).read();
  const defaultDeviceRole = value["defaultDeviceRole"] as string | undefined;
  if (defaultDeviceRole !== undefined && roles.get(defaultDeviceRole)?.for !== "devices")
    reader.fault(["defaultDeviceRole"], `${defaultDeviceRole} is not a role for devices`);
  const bridges = entriesOf(value["bridges"]).map(([name, raw]) => readBridge(reader, name, raw));
  if (reader.findings.length > 0) throw new PolicyError(file, reader.findings);
  const limits = (value["limits"] ?? {}) as Limits;
  return {
    name: value["name"] as string,
    attributes,
    listeners,
    classes,
    roles,
    limits,
    limitSources: new Map(Object.keys(limits).map((name) => [name, reader.source(["limits", name])])),
    bridges: bridges.filter((bridge) => bridge !== undefined),
    unenforced: new Map(
      Object.entries((value["unenforced"] ?? {}) as Record<string, string[]>).map(([kind, parts]) => [kind, new Set(parts)]),
    ),
    ...(value["description"] === undefined ? {} : { description: value["description"] as string }),
    ...(tenant === undefined ? {} : { tenant }),
    ...(defaultDeviceRole === undefined ? {} : { defaultDeviceRole }),
  };
}

function readAttributes(reader: PolicyReader): Map<string, AttributeDefinition> {
  const attributes = new Map<string, AttributeDefinition>();
  for (const [name, raw] of entriesOf(reader.value["attributes"])) {
    const path = ["attributes", name];
    if (name === "id") reader.fault(path, "the attribute id is the name itself and cannot be declared");
    const { values, pattern } = raw as { values?: string[]; pattern?: string };
    const compiled = pattern === undefined ? undefined : reader.attempt([...path, "pattern"], () => wholePattern(pattern));
    attributes.set(name, {
      name,
      source: reader.source(path),
      ...(values === undefined ? {} : { values }),
      ...(compiled === undefined ? {} : { pattern: compiled }),
    });
  }
  return attributes;
}

/** Repetitions of repetitions take JavaScript's engine for ever on some values. */
function wholePattern(pattern: string): RegExp {
  if (/[+*}]\)?[+*{]/.test(pattern) || /\\[1-9]/.test(pattern) || pattern.length > 200) {
    throw new HawserError(
      "POLICY_INVALID",
      `the pattern ${JSON.stringify(pattern)} has nested repetition or a back-reference, or is too long`,
      "Simplify it, or list the values.",
    );
  }
  try {
    return new RegExp(`^(?:${pattern})$`, "u");
  } catch {
    throw new HawserError("POLICY_INVALID", `the pattern ${JSON.stringify(pattern)} is not a regular expression`);
  }
}

function readListeners(reader: PolicyReader): Map<string, Listener> {
  const listeners = new Map<string, Listener>();
  for (const [name, raw] of entriesOf(reader.value["listeners"])) {
    const path = ["listeners", name];
    const {
      port,
      bind,
      requires,
      scope = "full",
      websocket = false,
    } = raw as { port: number; bind?: string; requires: Factor[]; scope?: "full" | "recovery"; websocket?: boolean };
    if (requires.includes("certificate") && requires.includes("psk"))
      reader.fault(
        [...path, "requires"],
        "certificates and pre-shared keys need a listener each: a client that offers both lets the broker pick",
      );
    if (requires.includes("psk") && scope === "full") reader.fault(path, "a listener for pre-shared keys must have scope: recovery");
    if (requires.includes("password") && requires.includes("token"))
      reader.fault([...path, "requires"], "a token travels in the password's place: ask for one of them");
    if (bind !== undefined && !/^[\w.:%-]{1,253}$/.test(bind)) reader.fault([...path, "bind"], `${JSON.stringify(bind)} is not an address`);
    for (const other of listeners.values())
      if (other.port === port && (other.bind ?? "") === (bind ?? ""))
        reader.fault([...path, "port"], `the port ${port} belongs to the listener ${other.name}`);
    listeners.set(name, { name, source: reader.source(path), port, requires, scope, websocket, ...(bind === undefined ? {} : { bind }) });
  }
  return listeners;
}

function readClasses(reader: PolicyReader, attributes: ReadonlyMap<string, AttributeDefinition>): Map<string, DeviceClass> {
  const classes = new Map<string, DeviceClass>();
  for (const [name, raw] of entriesOf(reader.value["classes"])) {
    const path = ["classes", name];
    const base = raw["base"] as string;
    const baseLevels = reader.attempt([...path, "base"], () => parseTemplate(base)) ?? [];
    const names = baseLevels.flatMap((level) => (level.kind === "placeholder" ? [level.name] : []));
    if (baseLevels.some(({ kind }) => kind === "plus" || kind === "hash"))
      reader.fault([...path, "base"], `the base ${base} has a wildcard: it must name one place for each device`);
    if (base.startsWith("$")) reader.fault([...path, "base"], "topics that begin with $ belong to the broker");
    for (const used of names)
      if (used !== "id" && !attributes.has(used)) reader.fault([...path, "base"], `the attribute ${used} is not declared under attributes`);
    const channels = new Map<string, Channel>();
    for (const [channelName, rawChannel] of entriesOf(raw["channels"])) {
      const channel = readChannel(reader, attributes, {
        className: name,
        base,
        path: [...path, "channels", channelName],
        channelName,
        raw: rawChannel,
      });
      if (channel !== undefined) channels.set(channelName, channel);
    }
    const description = raw["description"] as string | undefined;
    const placeholders = [...new Set(names.filter((used) => used !== "id"))];
    classes.set(name, {
      name,
      source: reader.source(path),
      base,
      baseLevels,
      placeholders,
      hasId: names.includes("id"),
      channels,
      ...(description === undefined ? {} : { description }),
    });
  }
  return classes;
}

interface ChannelText {
  readonly className: string;
  readonly base: string;
  readonly path: Path;
  readonly channelName: string;
  readonly raw: Raw;
}

function readChannel(
  reader: PolicyReader,
  attributes: ReadonlyMap<string, AttributeDefinition>,
  { className, base, path, channelName, raw }: ChannelText,
): Channel | undefined {
  const {
    topic,
    absolute = false,
    direction,
    recovery = false,
    ...rest
  } = raw as {
    topic: string;
    absolute?: boolean;
    direction: "up" | "down";
    recovery?: boolean;
    description?: string;
    qos?: Qos;
    retain?: boolean;
    maxBytes?: number;
    messagesPerSecond?: number;
    schema?: string;
  };
  const template = reader.attempt([...path, "topic"], () => parseTemplate(absolute ? topic : `${base}/${topic}`));
  if (absolute && topic.startsWith("$")) reader.fault([...path, "topic"], "topics that begin with $ belong to the broker");
  if (!absolute && (topic.startsWith("/") || topic.includes("{")))
    reader.fault(
      [...path, "topic"],
      `${JSON.stringify(topic)} is relative to the base: no leading slash and no placeholders (or say absolute: true)`,
    );
  for (const level of template ?? [])
    if (level.kind === "placeholder" && level.name !== "id" && !attributes.has(level.name))
      reader.fault([...path, "topic"], `the attribute ${level.name} is not declared under attributes`);
  if (template === undefined) return undefined;
  return { name: channelName, className, source: reader.source(path), topic, template, direction, recovery, ...rest };
}

interface RawBridge {
  readonly host: string;
  readonly port: number;
  readonly clientId?: string;
  readonly certificate: Bridge["certificate"];
  readonly topics: readonly { topic: string; direction: "out" | "in"; qos?: Qos; localPrefix?: string; remotePrefix?: string }[];
}

function readBridge(reader: PolicyReader, name: string, raw: Raw): Bridge | undefined {
  const path = ["bridges", name];
  const { host, port, clientId = `hawser-bridge-${name}`, certificate, topics } = raw as unknown as RawBridge;
  if (!/^[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9])?$/.test(host)) reader.fault([...path, "host"], `${JSON.stringify(host)} is not a host`);
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(clientId))
    reader.fault([...path, "clientId"], `${JSON.stringify(clientId)} is not usable as a client id`);
  for (const [part, file] of Object.entries(certificate))
    if (!/^\/[^\p{Cc}]*$/u.test(file)) reader.fault([...path, "certificate", part], "give an absolute path");
  if ((certificate.chain === undefined) !== (certificate.key === undefined))
    reader.fault([...path, "certificate"], "give both chain and key, or neither");
  const checked = topics.map(({ topic, direction, qos = 1, localPrefix = "", remotePrefix = "" }, index) => {
    const at = [...path, "topics", index];
    for (const prefix of [localPrefix, remotePrefix]) {
      if (/[+#\p{Cc}\s]/u.test(prefix) || (prefix !== "" && !prefix.endsWith("/")))
        reader.fault(at, `the prefix ${JSON.stringify(prefix)} must end with / and have no wildcard or blank`);
    }
    if (!isTopicFilter(topic) || /\s/.test(topic)) reader.fault(at, `${JSON.stringify(topic)} is not a topic filter`);
    if (localPrefix === "" && remotePrefix === "" && /^[+#]/.test(topic))
      reader.fault(at, `${topic} would carry everything across: name the topics, or a prefix`);
    if (`${localPrefix}${topic}`.startsWith("$") || `${remotePrefix}${topic}`.startsWith("$"))
      reader.fault(at, "topics that begin with $ do not cross a bridge");
    return { topic, direction, qos, localPrefix, remotePrefix, source: reader.source(at) };
  });
  return { name, source: reader.source(path), host, port, clientId, certificate, topics: checked };
}
