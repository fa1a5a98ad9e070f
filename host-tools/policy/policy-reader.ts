/** Reading of a policy that gathers everything wrong with it, each fault with its line. */
import { HawserError } from "../../sdk/errors.js";
import { parseNetwork, parseWindow } from "./conditions.js";
import type { AttributeDefinition, Condition, Listener, Source } from "./policy-model.js";
import type { Finding, PolicyText } from "./policy-text.js";

export type Path = readonly (string | number)[];
export type Raw = Readonly<Record<string, unknown>>;

/** Collects findings while the text is read, so that a user sees all of them at once. */
export class PolicyReader {
  readonly findings: Finding[] = [];

  constructor(private readonly text: PolicyText) {}

  get value(): Raw {
    return this.text.value;
  }

  source(path: Path): Source {
    return this.text.sourceOf(path);
  }

  fault(path: Path, message: string, code = "REFERENCE"): void {
    this.findings.push({ level: "error", code, message, source: this.source(path) });
  }

  /** What `work` returns, or undefined after recording what it threw. */
  attempt<T>(path: Path, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof HawserError)) throw error;
      this.fault(path, error.nextStep === "" ? error.message : `${error.message}. ${error.nextStep}`, "INVALID");
      return undefined;
    }
  }
}

/** The entries of an optional mapping. */
export function entriesOf(value: unknown): [string, Raw][] {
  return Object.entries((value ?? {}) as Record<string, Raw>);
}

/** `when` of a grant. */
export function readCondition(
  reader: PolicyReader,
  path: Path,
  raw: Raw,
  known: { listeners: ReadonlyMap<string, Listener>; attributes: ReadonlyMap<string, AttributeDefinition> },
): Condition {
  const { listeners, networks, times, attributes } = raw as {
    listeners?: string[];
    networks?: string[];
    times?: Raw[];
    attributes?: Record<string, string | string[]>;
  };
  for (const name of listeners ?? []) if (!known.listeners.has(name)) reader.fault([...path, "listeners"], `there is no listener ${name}`);
  for (const name of Object.keys(attributes ?? {}))
    if (!known.attributes.has(name)) reader.fault([...path, "attributes", name], `the attribute ${name} is not declared under attributes`);
  const parsedNetworks = networks
    ?.map((text, index) => reader.attempt([...path, "networks", index], () => parseNetwork(text)))
    .filter((network) => network !== undefined);
  const parsedTimes = times
    ?.map((time, index) => reader.attempt([...path, "times", index], () => parseWindow(time)))
    .filter((window) => window !== undefined);
  return {
    ...(listeners === undefined ? {} : { listeners }),
    ...(parsedNetworks === undefined ? {} : { networks: parsedNetworks }),
    ...(parsedTimes === undefined ? {} : { times: parsedTimes }),
    ...(attributes === undefined
      ? {}
      : { attributes: new Map(Object.entries(attributes).map(([name, value]) => [name, Array.isArray(value) ? value : [value]])) }),
  };
}
