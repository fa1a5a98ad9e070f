/** Works out what each role of a policy brings: its own channels, its grants, and what it inherits. */
import type { AttributeDefinition, Channel, DeviceClass, Factor, Listener, Role, RoleLimits, RoleRights, Rule } from "./policy-model.js";
import { entriesOf, readCondition } from "./policy-reader.js";
import type { Path, PolicyReader, Raw } from "./policy-reader.js";
import { overlap, parseTemplate } from "./topic-template.js";
import type { Level } from "./topic-template.js";

interface Known {
  readonly attributes: ReadonlyMap<string, AttributeDefinition>;
  readonly listeners: ReadonlyMap<string, Listener>;
  readonly classes: ReadonlyMap<string, DeviceClass>;
  readonly tenant: string | undefined;
}

interface RawRole {
  readonly description?: string;
  readonly for?: "devices" | "clients";
  readonly class?: string;
  readonly channels?: readonly string[];
  readonly inherits?: readonly string[];
  readonly grants?: readonly RawGrant[];
  readonly requires?: Readonly<Record<string, Factor[]>>;
  readonly may?: Partial<RoleRights>;
  readonly limits?: RoleLimits;
}

type AccessWord = "read" | "write" | "readwrite";

interface RawGrant {
  readonly allow?: AccessWord;
  readonly deny?: AccessWord;
  readonly channels?: readonly string[];
  readonly topics?: readonly string[];
  readonly scope?: Readonly<Record<string, string | string[]>>;
  readonly acrossTenants?: boolean;
  readonly when?: Raw;
}

const EVERYTHING: RoleRights = { retain: true, will: true, wildcards: true, shared: true };

export class RoleReader {
  readonly #roles = new Map<string, Role>();
  readonly #raw: ReadonlyMap<string, RawRole>;

  constructor(
    private readonly reader: PolicyReader,
    private readonly known: Known,
  ) {
    this.#raw = new Map(entriesOf(reader.value["roles"]));
  }

  read(): ReadonlyMap<string, Role> {
    for (const name of this.#raw.keys()) this.#role(name, []);
    return this.#roles;
  }

  #role(name: string, above: readonly string[]): Role | undefined {
    const done = this.#roles.get(name);
    if (done !== undefined) return done;
    const raw = this.#raw.get(name);
    const path = ["roles", name];
    if (raw === undefined) return undefined;
    if (above.includes(name)) {
      this.reader.fault([...path, "inherits"], `the roles ${[...above, name].join(" -> ")} inherit from each other in a circle`);
      return undefined;
    }
    const parents = (raw.inherits ?? []).flatMap((parent) => {
      const role = this.#role(parent, [...above, name]);
      if (role === undefined && !this.#raw.has(parent)) this.reader.fault([...path, "inherits"], `there is no role ${parent}`);
      return role === undefined ? [] : [role];
    });
    const role = this.#build(name, path, raw, parents);
    this.#roles.set(name, role);
    return role;
  }

  #build(name: string, path: Path, raw: RawRole, parents: readonly Role[]): Role {
    const kind = raw.for ?? parents[0]?.for ?? "clients";
    for (const parent of parents)
      if (parent.for !== kind) this.reader.fault([...path, "inherits"], `${name} is for ${kind}, but ${parent.name} is for ${parent.for}`);
    const className = raw.class ?? parents.find((parent) => parent.className !== undefined)?.className;
    const own = raw.class === undefined ? [] : this.#ownRules(name, path, raw);
    if (raw.class !== undefined && kind === "clients") this.reader.fault([...path, "class"], "only a role for devices has a class");
    if (kind === "devices" && className === undefined) this.reader.fault(path, `${name} is for devices and needs a class`);
    if (raw.channels !== undefined && raw.class === undefined) this.reader.fault([...path, "channels"], "channels belongs to class");
    const granted = (raw.grants ?? []).flatMap((grant, index) => this.#grantRules(name, [...path, "grants", index], grant));
    for (const listener of Object.keys(raw.requires ?? {}))
      if (!this.known.listeners.has(listener)) this.reader.fault([...path, "requires", listener], `there is no listener ${listener}`);
    // A device of another class than its parent's does not inherit the parent's own topics.
    const inherited = parents.flatMap((parent) => parent.rules.filter((rule) => !rule.own || rule.channel?.className === className));
    return {
      name,
      source: this.reader.source(path),
      for: kind,
      inherits: raw.inherits ?? [],
      rules: [...own, ...granted, ...inherited],
      requires: new Map([...parents.flatMap((parent) => [...parent.requires]), ...Object.entries(raw.requires ?? {})]),
      // A child may take rights away, never add what a parent forbids.
      may: restricted([...parents.map(({ may }) => may), { ...EVERYTHING, ...raw.may }]),
      limits: Object.assign({}, ...parents.map(({ limits }) => limits), raw.limits) as RoleLimits,
      ...(raw.description === undefined ? {} : { description: raw.description }),
      ...(className === undefined ? {} : { className }),
    };
  }

  #ownRules(role: string, path: Path, raw: RawRole): Rule[] {
    const deviceClass = this.known.classes.get(raw.class ?? "");
    if (deviceClass === undefined) {
      this.reader.fault([...path, "class"], `there is no class ${raw.class ?? ""}`);
      return [];
    }
    for (const name of raw.channels ?? [])
      if (!deviceClass.channels.has(name)) this.reader.fault([...path, "channels"], `the class ${deviceClass.name} has no channel ${name}`);
    const channels = [...deviceClass.channels.values()].filter(({ name }) => raw.channels?.includes(name) ?? true);
    return channels.map((channel) => ({
      effect: "allow",
      access: channel.direction === "up" ? "publish" : "subscribe",
      template: channel.template,
      role,
      source: channel.source,
      channel,
      own: true,
      scope: new Map(),
      needsOwner: false,
      acrossTenants: false,
      recovery: channel.recovery,
    }));
  }

  #grantRules(role: string, path: Path, grant: RawGrant): Rule[] {
    const effect = grant.allow === undefined ? ("deny" as const) : ("allow" as const);
    const word = grant.allow ?? grant.deny ?? "read";
    const accesses = word === "readwrite" ? (["publish", "subscribe"] as const) : ([word === "read" ? "subscribe" : "publish"] as const);
    const when = grant.when === undefined ? {} : { when: readCondition(this.reader, [...path, "when"], grant.when, this.known) };
    const common = {
      effect,
      role,
      source: this.reader.source(path),
      own: false,
      acrossTenants: grant.acrossTenants ?? false,
      recovery: false,
      ...when,
    };
    const targets = grant.topics === undefined ? this.#channelTargets(path, grant) : this.#topicTargets(path, grant);
    return targets.flatMap((target) => accesses.map((access) => ({ ...common, ...target, access })));
  }

  #topicTargets(path: Path, grant: RawGrant): Pick<Rule, "template" | "scope" | "needsOwner">[] {
    if (grant.scope !== undefined)
      this.reader.fault([...path, "scope"], "a scope belongs to channels; write placeholders such as {site} into topics instead");
    return (grant.topics ?? []).flatMap((text, index) => {
      const at = [...path, "topics", index];
      if (text.startsWith("$share/"))
        this.reader.fault(
          at,
          "write the filter without $share: who may read a topic may share it, where the role may use shared subscriptions",
        );
      const template = this.reader.attempt(at, () => parseTemplate(text));
      for (const level of template ?? []) {
        if (level.kind === "placeholder" && level.name !== "id" && !this.known.attributes.has(level.name))
          this.reader.fault(at, `the attribute ${level.name} is not declared under attributes`);
      }
      return template === undefined ? [] : [{ template, scope: new Map(), needsOwner: false }];
    });
  }

  #channelTargets(path: Path, grant: RawGrant): Pick<Rule, "template" | "scope" | "needsOwner" | "channel">[] {
    const scope = new Map(Object.entries(grant.scope ?? {}).map(([name, value]) => [name, Array.isArray(value) ? value : [value]]));
    for (const [name, values] of scope) {
      if (name !== "id" && !this.known.attributes.has(name))
        this.reader.fault([...path, "scope", name], `the attribute ${name} is not declared under attributes`);
      for (const value of values) {
        const own = /^\{(.*)\}$/.exec(value)?.[1];
        if (own !== undefined && own !== "id" && !this.known.attributes.has(own))
          this.reader.fault([...path, "scope", name], `the attribute ${own} is not declared under attributes`);
      }
    }
    return (grant.channels ?? []).flatMap((reference, index) =>
      this.#channels(reference, [...path, "channels", index]).map((channel) => this.#channelTarget(path, channel, scope, grant)),
    );
  }

  #channels(reference: string, path: Path): Channel[] {
    const [className = "", channelName = ""] = reference.split(".");
    const deviceClass = this.known.classes.get(className);
    const channels = [...(deviceClass?.channels.values() ?? [])].filter(({ name }) => channelName === "*" || name === channelName);
    if (channels.length === 0)
      this.reader.fault(
        path,
        deviceClass === undefined ? `there is no class ${className}` : `the class ${className} has no channel ${channelName}`,
      );
    return channels;
  }

  #channelTarget(
    path: Path,
    channel: Channel,
    asked: ReadonlyMap<string, readonly string[]>,
    grant: RawGrant,
  ): Pick<Rule, "template" | "scope" | "needsOwner" | "channel"> {
    const { tenant } = this.known;
    const scope = new Map(asked);
    // A tenant is a wall that stands without being asked for. What is denied is denied to all of them.
    if (tenant !== undefined && grant.allow !== undefined && grant.acrossTenants !== true) scope.set(tenant, [`{${tenant}}`]);
    const shown = new Set(channel.template.flatMap((level: Level) => (level.kind === "placeholder" ? [level.name] : [])));
    const needsOwner = [...scope.keys()].some((name) => !shown.has(name)) || this.#isShared(channel);
    if (needsOwner && !shown.has("id")) {
      this.reader.fault(
        path,
        `the topics of ${channel.className}.${channel.name} have no {id}: nobody can tell whose message it is, so they cannot be scoped`,
        "UNDECIDABLE",
      );
    }
    return { template: channel.template, scope, needsOwner, channel };
  }

  /** Whether another class has topics that look the same. */
  #isShared(channel: Channel): boolean {
    return [...this.known.classes.values()].some(
      ({ name, channels }) =>
        name !== channel.className && [...channels.values()].some((other) => overlap(other.template, channel.template)),
    );
  }
}

function restricted(rights: readonly RoleRights[]): RoleRights {
  const all = (name: keyof RoleRights): boolean => rights.every((right) => right[name]);
  return { retain: all("retain"), will: all("will"), wildcards: all("wildcards"), shared: all("shared") };
}
