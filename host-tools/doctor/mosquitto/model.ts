/** The broker that mosquitto makes of a configuration: its listeners, its bridges, and what stops it from starting. */
import type { Place } from "../finding.js";
import type { Directive } from "./conf-reader.js";
import type { MosquittoVersion } from "./version.js";

/** The last directive of each name. */
export class Settings {
  readonly #last = new Map<string, Directive>();

  set(directive: Directive): void {
    this.#last.set(directive.name, directive);
  }

  get(...names: readonly string[]): Directive | undefined {
    for (const name of names) {
      const found = this.#last.get(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  text(...names: readonly string[]): string | undefined {
    return this.get(...names)?.value;
  }

  flag(name: string): boolean | undefined {
    const word = this.get(name)?.words[0];
    return word === undefined ? undefined : word === "true" || word === "1";
  }

  number(name: string): number | undefined {
    const word = this.get(name)?.words[0];
    return word === undefined ? undefined : Number.parseInt(word, 10);
  }

  all(): readonly Directive[] {
    return [...this.#last.values()];
  }
}

export interface Plugin {
  readonly path: string;
  readonly place: Place;
  readonly options: Map<string, Directive>;
}

export interface Security {
  readonly settings: Settings;
  readonly plugins: Plugin[];
}

export interface Listener {
  port: number;
  address?: string | undefined;
  socketPath?: string | undefined;
  place: Place;
  readonly isDefault: boolean;
  /** The lines that created the default listener. */
  readonly wokenBy: Directive[];
  readonly settings: Settings;
  /** Its own, which counts with per_listener_settings. */
  readonly security: Security;
}

export interface Bridge {
  readonly name: string;
  readonly place: Place;
  readonly settings: Settings;
  readonly topics: Directive[];
  addresses: readonly string[];
}

export interface StartError {
  readonly what: string;
  readonly place: Place;
  /** The line as it may have been meant. */
  readonly meant?: string | undefined;
}

/** A security or listener option that reached the sleeping default listener: nothing uses it. */
export interface DeadLine {
  readonly directive: Directive;
  readonly scope: "security" | "listener";
}

export interface MosquittoModel {
  readonly version: MosquittoVersion;
  readonly perListener: boolean;
  /** No listener line at all. */
  readonly isLocalOnly: boolean;
  readonly global: Settings;
  readonly security: Security;
  readonly listeners: readonly Listener[];
  readonly bridges: readonly Bridge[];
  readonly startErrors: readonly StartError[];
  readonly deadLines: readonly DeadLine[];
  readonly logDestinations: readonly Directive[];
  readonly logTypes: readonly Directive[];
}

export type Transport = "plain" | "certificate" | "psk";

export function isWebSocket({ settings }: Listener): boolean {
  return settings.get("protocol")?.words[0] === "websockets";
}

export function transportOf(listener: Listener): Transport {
  const { settings } = listener;
  if (settings.text("certfile") !== undefined && settings.text("keyfile") !== undefined) return "certificate";
  return settings.text("psk_hint") !== undefined && !isWebSocket(listener) ? "psk" : "plain";
}

export function demandsCertificate(listener: Listener): boolean {
  return transportOf(listener) === "certificate" && listener.settings.flag("require_certificate") === true;
}

/** Whether the user name comes from the certificate or the key's identity. */
export function takesIdentity(listener: Listener): boolean {
  const { settings } = listener;
  return (
    transportOf(listener) !== "plain" &&
    (settings.flag("use_identity_as_username") === true || settings.flag("use_subject_as_username") === true)
  );
}

export function securityOf(model: MosquittoModel, listener: Listener): Security {
  return model.perListener ? listener.security : model.security;
}

/** All plugins that decide about clients of a listener. */
export function pluginsOf(model: MosquittoModel, listener: Listener): readonly Plugin[] {
  return [
    ...new Set([
      ...securityOf(model, listener).plugins,
      ...listener.security.plugins,
      ...model.security.plugins.filter(({ place }) => /^global_plugin/.test(place.text)),
    ]),
  ];
}

/** The line that settles whether a listener takes clients without credentials. */
export function anonymousLine(model: MosquittoModel, listener: Listener): Directive | undefined {
  return listener.settings.get("listener_allow_anonymous") ?? securityOf(model, listener).settings.get("allow_anonymous");
}

export function takesAnonymous(model: MosquittoModel, listener: Listener): boolean {
  const { version } = model;
  const own = listener.settings.flag("listener_allow_anonymous");
  if (own !== undefined) return own;
  const { settings, plugins } = securityOf(model, listener);
  const set = settings.flag("allow_anonymous");
  if (!version.atLeast(2, 0)) return set ?? (settings.get("password_file", "psk_file") === undefined && plugins.length === 0);
  // Local-only mode switches it on for all; since 2.0.21 only where nobody set it.
  if (model.isLocalOnly && !model.perListener && !version.atLeast(2, 0, 21)) return true;
  if (set !== undefined) return set;
  // The default listener is made after the defaults of the others are settled, and "not set" counts as true (2.0).
  if (model.perListener && listener.isDefault && !version.atLeast(2, 1)) return true;
  return model.isLocalOnly;
}

/** Whether only this machine reaches it. */
export function isLocal(model: MosquittoModel, listener: Listener): boolean {
  if (listener.socketPath !== undefined) return true;
  if (listener.settings.text("bind_interface") === "lo") return true;
  return isLoopbackAddress(listener.address) && !ignoresAddress(model, listener);
}

export function isLoopbackAddress(address: string | undefined): boolean {
  return (
    address !== undefined &&
    (/^(127(\.\d+){3}|::1|localhost|localhost\.localdomain|ip6-localhost)$/i.test(address) || address === "0:0:0:0:0:0:0:1")
  );
}

/** 2.0 hands the address of a WebSocket listener to libwebsockets as the name of an interface; an address is none. */
export function ignoresAddress({ version }: MosquittoModel, listener: Listener): boolean {
  return isWebSocket(listener) && listener.address !== undefined && /[.:]/.test(listener.address) && !version.atLeast(2, 1);
}

/** How a listener is called in a sentence. */
export function nameOf(listener: Listener): string {
  if (listener.socketPath !== undefined) return `socket ${listener.socketPath}`;
  return listener.address === undefined ? `port ${listener.port}` : `port ${listener.port} (${listener.address})`;
}

const KNOWN_PLUGINS = {
  dynamicSecurity: /dynamic_security\.(so|dll)$/,
  aclFile: /mosquitto_acl_file\.(so|dll)$/,
  passwordFile: /mosquitto_password_file\.(so|dll)$/,
};
const STORES = /(persist_sqlite|persist_lmdb|sparkplug_aware)\.(so|dll)$/;

export function pluginOf(plugins: readonly Plugin[], kind: keyof typeof KNOWN_PLUGINS): Plugin | undefined {
  return plugins.find(({ path }) => KNOWN_PLUGINS[kind].test(path));
}

/** A plugin whose decisions cannot be read from files: another's authentication. */
export function hasUnknownPlugin(plugins: readonly Plugin[]): boolean {
  return plugins.some(({ path }) => !STORES.test(path) && !Object.values(KNOWN_PLUGINS).some((pattern) => pattern.test(path)));
}
