/** The compilers by the name of their target. */
import { HawserError } from "../../sdk/errors.js";
import type { Compiled, CompileInput } from "../policy/policy-target.js";
import { COMPILER_TARGETS } from "./compiler-targets.js";
import type { CompilerTarget } from "./compiler-targets.js";
import { compileEjabberd } from "./ejabberd/ejabberd-policy.js";
import { compileEmqx } from "./emqx/emqx-policy.js";
import { compileFirewall } from "./firewall/firewall-policy.js";
import { compileHivemq } from "./hivemq/hivemq-policy.js";
import { compileMosquittoPolicy } from "./mosquitto/mosquitto-policy.js";
import { compileNanomq } from "./nanomq/nanomq-policy.js";
import { compileRabbitmq } from "./rabbitmq/rabbitmq-policy.js";
import { compileVernemq } from "./vernemq/vernemq-policy.js";

export interface CompilerOptions {
  /** mosquitto: the dynamic-security plugin's path on the broker's machine. */
  readonly plugin?: string;
  /** mosquitto: the user it runs as. */
  readonly user?: string;
}

type Compiler = (input: CompileInput, options: CompilerOptions) => Compiled;

const COMPILERS: Readonly<Record<CompilerTarget, Compiler>> = {
  mosquitto: (input, options) => compileMosquittoPolicy(input, options),
  "mosquitto-2.0.21": (input, options) => compileMosquittoPolicy(input, { ...options, version: "2.0.21" }),
  "mosquitto-2.1": (input, options) => compileMosquittoPolicy(input, { ...options, version: "2.1" }),
  rabbitmq: compileRabbitmq,
  emqx: compileEmqx,
  vernemq: compileVernemq,
  ejabberd: compileEjabberd,
  hivemq: compileHivemq,
  nanomq: compileNanomq,
  firewall: compileFirewall,
};

/** @throws HawserError `USAGE`, PolicyError for what the target cannot say */
export function compilePolicy(target: string, input: CompileInput, options: CompilerOptions = {}): Compiled {
  const known = COMPILER_TARGETS.find((name) => name === target);
  if (known === undefined) throw new HawserError("USAGE", `no compiler for ${target}`, `Choose one of ${COMPILER_TARGETS.join(", ")}.`);
  return COMPILERS[known](input, options);
}
