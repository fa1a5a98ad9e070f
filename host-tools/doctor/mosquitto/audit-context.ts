/** What every check of a mosquitto configuration looks at, and where it says what it found. */
import { existsSync, statSync } from "node:fs";
import { dirname, isAbsolute, relative, resolve } from "node:path";
import type { Edit, Finding, Note, Place, Severity } from "../finding.js";
import { ruleOf } from "../rule-book.js";
import type { RuleId } from "../rule-book.js";
import { parseAcl } from "./acl-file.js";
import type { AclFile } from "./acl-file.js";
import { readText } from "./conf-reader.js";
import type { Directive, ReadConf } from "./conf-reader.js";
import { parseDynsec } from "./dynsec-file.js";
import type { DynsecFile } from "./dynsec-file.js";
import { pluginOf, pluginsOf, securityOf } from "./model.js";
import type { Listener, MosquittoModel, Plugin } from "./model.js";
import { parsePasswords } from "./credential-files.js";
import type { PasswordEntry } from "./credential-files.js";

export interface FindingOptions {
  readonly place?: Place | undefined;
  readonly severity?: Severity;
  readonly fix?: readonly string[];
  readonly edits?: readonly Edit[];
}

/** `special`: a pipe or device. */
export type FileState = "present" | "special" | "missing" | "elsewhere";

export class AuditContext {
  readonly findings: Finding[] = [];
  readonly notes: Note[] = [];
  readonly #acls = new Map<string, AclFile | undefined>();
  readonly #passwords = new Map<string, readonly PasswordEntry[]>();
  readonly #dynsecs = new Map<string, DynsecFile | undefined>();

  constructor(
    readonly conf: ReadConf,
    readonly model: MosquittoModel,
    readonly nowMs: number,
  ) {}

  find(id: RuleId, what: string, options: FindingOptions = {}): void {
    const { place, severity = ruleOf(id).severity, fix = [], edits = [] } = options;
    if (this.findings.some((other) => other.id === id && other.what === what)) return;
    this.findings.push({ id, severity, what, place, fix: fix.length > 0 ? fix : edits.flatMap(({ lines }) => lines), edits });
  }

  note(what: string, place?: Place): void {
    if (!this.notes.some((note) => note.what === what)) this.notes.push({ what, place });
  }

  /** A path as the broker means it, when it is started in the directory of its configuration. */
  pathOf(name: string): string {
    return resolve(this.conf.directory, name);
  }

  /** A file that is not here may be on the broker's machine: it counts as missing only where its neighbourhood is here. */
  stateOf(name: string): FileState {
    const path = this.pathOf(name);
    if (existsSync(path)) {
      const status = statSync(path);
      return status.isFile() || status.isDirectory() ? "present" : "special";
    }
    const isNear = !isAbsolute(name) || !relative(this.conf.directory, path).startsWith("..");
    return isNear && existsSync(dirname(path)) ? "missing" : "elsewhere";
  }

  read(name: string): string | undefined {
    return readText(this.pathOf(name));
  }

  /** The file that decides about topics on a listener: of acl_file, or of 2.1's plugin. */
  aclLine(listener: Listener): Directive | undefined {
    return (
      securityOf(this.model, listener).settings.get("acl_file") ?? pluginOf(this.plugins(listener), "aclFile")?.options.get("acl_file")
    );
  }

  passwordLine(listener: Listener): Directive | undefined {
    return (
      securityOf(this.model, listener).settings.get("password_file") ??
      pluginOf(this.plugins(listener), "passwordFile")?.options.get("password_file")
    );
  }

  plugins(listener: Listener): readonly Plugin[] {
    return pluginsOf(this.model, listener);
  }

  /** Undefined when no ACL counts, or its file is not here. */
  acl(listener: Listener): AclFile | undefined {
    const name = this.aclLine(listener)?.value;
    return name === undefined ? undefined : cached(this.#acls, name, () => this.#with(name, parseAcl));
  }

  passwords(name: string): readonly PasswordEntry[] {
    return cached(this.#passwords, name, () => this.#with(name, parsePasswords) ?? []);
  }

  dynsecLine(listener: Listener): Directive | undefined {
    return pluginOf(this.plugins(listener), "dynamicSecurity")?.options.get("config_file");
  }

  dynsec(listener: Listener): DynsecFile | undefined {
    const name = this.dynsecLine(listener)?.value;
    return name === undefined ? undefined : cached(this.#dynsecs, name, () => this.#with(name, parseDynsec));
  }

  #with<Value>(name: string, parse: (file: string, text: string) => Value): Value | undefined {
    const text = this.read(name);
    return text === undefined ? undefined : parse(name, text);
  }
}

function cached<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  if (!map.has(key)) map.set(key, make());
  return map.get(key) as Value;
}

export function replaceLine(place: Place, ...lines: string[]): Edit {
  return { place, action: "replace", lines };
}

export function removeLine(place: Place): Edit {
  return { place, action: "remove", lines: [] };
}

export function insertAfter(place: Place, ...lines: string[]): Edit {
  return { place, action: "after", lines };
}
