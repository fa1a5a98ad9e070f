/** Plays mosquitto's reading of a configuration, version by version, and keeps what comes out of it. */
import type { ConfEvent, Directive, ReadConf } from "./conf-reader.js";
import { isLoopbackAddress, Settings } from "./model.js";
import type { Bridge, DeadLine, Listener, MosquittoModel, Plugin, Security, StartError } from "./model.js";
import { factsOf, nearestOption, WAKING_OPTIONS } from "./option-table.js";
import type { OptionFacts } from "./option-table.js";
import { wrongValue } from "./option-values.js";
import type { MosquittoVersion } from "./version.js";

const newSecurity = (): Security => ({ settings: new Settings(), plugins: [] });

export function buildModel(conf: ReadConf, version: MosquittoVersion): MosquittoModel {
  const builder = new ModelBuilder(version);
  for (const event of conf.events) builder.take(event);
  for (const { what, place } of conf.problems) builder.startErrors.push({ what, place });
  return builder.finish(conf);
}

/** Where reading stands in one file: an included file begins anew. */
interface Position {
  listener: Listener | undefined;
  bridge: Bridge | undefined;
  plugin: Plugin | undefined;
}

class ModelBuilder {
  readonly startErrors: StartError[] = [];
  readonly #listeners: Listener[] = [];
  readonly #bridges: Bridge[] = [];
  readonly #global = new Settings();
  readonly #security = newSecurity();
  readonly #logDestinations: Directive[] = [];
  readonly #logTypes: Directive[] = [];
  readonly #positions: Position[] = [];
  #default: Listener | undefined;
  #perListener = false;
  #sawSecurity = false;
  /** A listener line, port or bind_address was seen. */
  #isRemote = false;

  constructor(readonly version: MosquittoVersion) {}

  take(event: ConfEvent): void {
    if (event.kind === "start") this.#positions.push({ listener: undefined, bridge: undefined, plugin: undefined });
    else if (event.kind === "end") this.#positions.pop();
    else this.#line(event.directive);
  }

  finish(conf: ReadConf): MosquittoModel {
    const deadLines: DeadLine[] = [];
    const listeners = [...this.#listeners];
    const sleeper = this.#default;
    const isOld = !this.version.atLeast(2, 0);
    if (sleeper !== undefined && (sleeper.wokenBy.length > 0 || (isOld && listeners.length === 0))) listeners.push(sleeper);
    else if (sleeper !== undefined) {
      for (const directive of sleeper.settings.all()) deadLines.push({ directive, scope: "listener" });
      for (const directive of sleeper.security.settings.all()) deadLines.push({ directive, scope: "security" });
    }
    const isLocalOnly = !this.#isRemote && this.#listeners.length === 0 && !isOld;
    // From 2.0.21 on loopback alone is opened whenever no listener was named; before, only when nothing woke the default listener.
    if (isLocalOnly && (this.version.atLeast(2, 0, 21) || listeners.length === 0))
      listeners.splice(0, listeners.length, this.#implied(conf, "127.0.0.1"));
    else if (listeners.length === 0) listeners.push(this.#implied(conf, undefined));
    this.#checkTogether(listeners);
    return {
      version: this.version,
      perListener: this.#perListener,
      isLocalOnly,
      global: this.#global,
      security: this.#security,
      listeners,
      bridges: this.#bridges,
      startErrors: this.startErrors,
      deadLines: isLocalOnly ? [] : deadLines,
      logDestinations: this.#logDestinations,
      logTypes: this.#logTypes,
    };
  }

  #implied(conf: ReadConf, address: string | undefined): Listener {
    const file = conf.files.keys().next().value ?? "";
    return {
      port: 1883,
      address,
      place: { file, line: 0, text: "" },
      isDefault: true,
      wokenBy: [],
      settings: new Settings(),
      security: newSecurity(),
    };
  }

  get #at(): Position {
    return this.#positions[this.#positions.length - 1] ?? { listener: undefined, bridge: undefined, plugin: undefined };
  }

  #fail(directive: Directive, what: string, meant?: string): void {
    this.startErrors.push({ what: `${what}: the broker does not start.`, place: directive.place, meant });
  }

  #line(directive: Directive): void {
    const { name } = directive;
    const facts = factsOf(name);
    if (facts === undefined) return this.#unknown(directive);
    if (facts.since !== undefined && !this.version.atLeast(...sinceParts(facts.since))) {
      return this.#fail(directive, `${name} is an option of mosquitto ${facts.since} and later, unknown to ${this.version.text}`);
    }
    const wrong = wrongValue(name, facts.kind, directive, this.version);
    if (wrong !== undefined) return this.#fail(directive, wrong.what, wrong.meant);
    switch (facts.scope) {
      case "listener":
        return this.#listenerOption(directive, facts);
      case "security":
        return this.#securityOption(directive, facts);
      case "bridge":
        return this.#bridgeOption(directive);
      case "plugin":
        return this.#pluginOption(directive);
      case "global":
        return this.#globalOption(directive);
    }
  }

  #unknown(directive: Directive): void {
    const { name, value, place } = directive;
    if (name.startsWith("#"))
      return this.#fail(
        directive,
        "A comment must begin in the first column; an indented # is an unknown option",
        place.text.replace(/^ +/, ""),
      );
    if (name.includes("\t"))
      return this.#fail(
        directive,
        "Only blanks separate an option from its value, and this line has a tab: unknown option",
        place.text.replace(/\t+/g, " "),
      );
    const near = nearestOption(name);
    this.#fail(
      directive,
      `Unknown option ${name}${near === undefined ? "" : ` (${near}?)`}`,
      near === undefined ? undefined : `${near} ${value}`,
    );
  }

  #defaultListener(directive: Directive): Listener {
    this.#default ??= {
      port: 1883,
      place: directive.place,
      isDefault: true,
      wokenBy: [],
      settings: new Settings(),
      security: newSecurity(),
    };
    // From 2.1 on it is the listener that following options need.
    if (this.version.atLeast(2, 1)) this.#at.listener = this.#default;
    return this.#default;
  }

  #listenerOption(directive: Directive, facts: OptionFacts): void {
    const { name } = directive;
    if (name === "listener") return this.#newListener(directive);
    if (name === "dhparamfile" && this.version.atLeast(2, 1)) return;
    const listener = this.#at.listener;
    if (listener === undefined && this.version.atLeast(2, 1) && (facts.demand21 === "listener" || facts.demand21 === "named")) {
      return this.#fail(directive, `From 2.1 on, ${name} needs a listener line above it, in the same file`);
    }
    const isSecond = (listener ?? this.#default)?.settings.get(name) !== undefined;
    if (isSecond && facts.kind === "string" && !this.version.atLeast(2, 1))
      return this.#fail(directive, `${name} is set twice for one listener`);
    if (listener === undefined && name === "mount_point" && this.#listeners.length === 0)
      return this.#fail(directive, "mount_point needs a listener line above it");
    const target = listener ?? this.#defaultListener(directive);
    if (target.isDefault && this.#wakes(directive)) target.wokenBy.push(directive);
    if (this.#mixesPsk(target, directive)) return this.#fail(directive, "One listener cannot have both a certificate and a pre-shared key");
    target.settings.set(directive);
  }

  #wakes({ name, words }: Directive): boolean {
    const value = words[0] ?? "";
    if (name === "require_certificate" || /^use_/.test(name)) return value === "true" || value === "1" || this.version.atLeast(2, 1);
    if (this.version.atLeast(2, 1)) return true;
    if (name === "max_connections") return !value.startsWith("-");
    if (/^max(imum)?_qos$/.test(name)) return value !== "2";
    if (name === "protocol") return value !== "mqtt";
    if (name === "tls_keyform") return value === "engine";
    return WAKING_OPTIONS.has(name);
  }

  #mixesPsk({ settings }: Listener, { name }: Directive): boolean {
    return (name === "cafile" || name === "certfile") && settings.get("psk_hint") !== undefined;
  }

  #newListener(directive: Directive): void {
    this.#isRemote = true;
    const [portText = "", address] = directive.words;
    const port = Number.parseInt(portText, 10);
    const where = address === undefined || address.startsWith("#") ? undefined : address;
    if (port === 0 && where === undefined) return this.#fail(directive, "A listener with port 0 must name a UNIX socket");
    const place = port === 0 ? { socketPath: where } : { address: where };
    const listener: Listener = {
      port,
      ...place,
      place: directive.place,
      isDefault: false,
      wokenBy: [],
      settings: new Settings(),
      security: newSecurity(),
    };
    this.#listeners.push(listener);
    this.#at.listener = listener;
  }

  #securityOption(directive: Directive, facts: OptionFacts): void {
    const { name, value } = directive;
    const listener = this.#at.listener;
    if (this.#perListener && listener === undefined && this.version.atLeast(2, 1)) {
      return this.#fail(directive, `From 2.1 on, ${name} needs a listener line above it when per_listener_settings is true`);
    }
    this.#sawSecurity = true;
    const target = this.#perListener ? (listener ?? this.#defaultListener(directive)) : undefined;
    const security = target?.security ?? this.#security;
    if (name === "plugin" || name === "auth_plugin" || name === "global_plugin") {
      this.#at.plugin = { path: value, place: directive.place, options: new Map() };
      (name === "global_plugin" ? this.#security : security).plugins.push(this.#at.plugin);
    } else {
      if (facts.kind === "string" && security.settings.get(name) !== undefined && !this.version.atLeast(2, 1))
        return this.#fail(directive, `${name} is set a second time`);
      if (name === "psk_file" && this.version.atLeast(2, 1) && listener?.settings.get("certfile") !== undefined) {
        return this.#fail(directive, "One listener cannot have both a certificate and a pre-shared key");
      }
      security.settings.set(directive);
    }
    const wakes =
      /^(password_file|psk_file|plugin|auth_plugin)$/.test(name) ||
      (name === "allow_zero_length_clientid" && directive.words[0] !== "true" && directive.words[0] !== "1");
    if (target?.isDefault === true && wakes) target.wokenBy.push(directive);
  }

  #bridgeOption(directive: Directive): void {
    const { name, words } = directive;
    if (name === "connection") {
      const called = words[0] ?? "";
      if (this.#bridges.some((bridge) => bridge.name === called)) return this.#fail(directive, `There are two bridges named ${called}`);
      this.#at.bridge = { name: called, place: directive.place, settings: new Settings(), topics: [], addresses: [] };
      this.#bridges.push(this.#at.bridge);
      return;
    }
    const bridge = this.#at.bridge;
    if (bridge === undefined) return this.#fail(directive, `${name} belongs to a bridge, and no connection line precedes it in this file`);
    if (name === "topic") bridge.topics.push(directive);
    else if (name === "address" || name === "addresses") bridge.addresses = words.filter((word) => !word.startsWith("#"));
    else bridge.settings.set(directive);
  }

  #pluginOption(directive: Directive): void {
    const { name, words } = directive;
    if (name === "plugin_load") {
      this.#at.plugin = { path: words.slice(1).join(" "), place: directive.place, options: new Map() };
      this.#security.plugins.push(this.#at.plugin);
      return;
    }
    if (this.#at.plugin === undefined) return this.#fail(directive, `${name} needs a plugin line above it`);
    this.#at.plugin.options.set(name.replace(/^(auth|plugin)_opt_/, ""), directive);
  }

  #globalOption(directive: Directive): void {
    const { name, words, value } = directive;
    if (name === "per_listener_settings") {
      const isOn = words[0] === "true" || words[0] === "1";
      if (isOn && this.#sawSecurity) return this.#fail(directive, "per_listener_settings must come before all other security settings");
      this.#perListener = isOn;
    }
    if (name === "port" || name === "bind_address") {
      this.#isRemote = true;
      const listener = this.#defaultListener(directive);
      listener.wokenBy.push(directive);
      listener.place = directive.place;
      if (name === "port") listener.port = Number.parseInt(words[0] ?? "", 10);
      else listener.address = value;
    }
    if (name === "log_dest") this.#logDestinations.push(directive);
    if (name === "log_type") this.#logTypes.push(directive);
    this.#global.set(directive);
  }

  /** What mosquitto checks when it has read everything. */
  #checkTogether(listeners: readonly Listener[]): void {
    for (const { place, topics, addresses, name } of this.#bridges) {
      if (addresses.length === 0) this.startErrors.push({ what: `The bridge ${name} has no address: the broker does not start.`, place });
      if (topics.length === 0) this.startErrors.push({ what: `The bridge ${name} has no topic: the broker does not start.`, place });
    }
    listeners.forEach((listener, index) => {
      const rival = listeners.slice(0, index).find((other) => wantSameSocket(other, listener));
      if (rival !== undefined)
        this.startErrors.push({
          what: `Two listeners want ${listener.socketPath ?? `port ${listener.port}`}: the broker does not start (address already in use).`,
          place: listener.place,
        });
    });
    for (const { settings, address, place } of listeners) {
      if (settings.text("bind_interface") === "lo" && address !== undefined && !isLoopbackAddress(address)) {
        this.startErrors.push({ what: `The interface lo does not have the address ${address}: the broker does not start.`, place });
      }
      if (!this.version.atLeast(2, 0, 21)) continue;
      const has = (option: string): boolean => settings.get(option) !== undefined;
      const line = settings.get("certfile", "keyfile", "cafile", "capath");
      if (has("certfile") !== has("keyfile"))
        this.startErrors.push({
          what: "certfile and keyfile go together, and one is missing: the broker does not start.",
          place: line?.place ?? place,
        });
      else if ((has("cafile") || has("capath")) && !has("certfile")) {
        this.startErrors.push({
          what: "cafile stands here without certfile and keyfile: the broker does not start.",
          place: line?.place ?? place,
        });
      }
    }
    const webSockets = listeners.filter(({ settings }) => settings.get("protocol")?.words[0] === "websockets");
    if (!this.version.atLeast(2, 0, 12) && webSockets.length > 0 && webSockets.length === listeners.length) {
      const place = webSockets[0]?.place;
      if (place !== undefined)
        this.startErrors.push({
          what: "mosquitto up to 2.0.11 does not start with WebSocket listeners alone: it needs a plain MQTT listener beside them.",
          place,
        });
    }
  }
}

function wantSameSocket(a: Listener, b: Listener): boolean {
  if (a.socketPath !== undefined || b.socketPath !== undefined) return a.socketPath === b.socketPath;
  const isWild = ({ address }: Listener): boolean => address === undefined || address === "0.0.0.0" || address === "::";
  return a.port === b.port && (a.address === b.address || isWild(a) || isWild(b));
}

function sinceParts(since: "2.0.12" | "2.1"): [number, number, number] {
  return since === "2.1" ? [2, 1, 0] : [2, 0, 12];
}
