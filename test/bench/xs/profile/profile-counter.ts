/**
 * Counts the byte codes of each module between `profileIn` and `profileOut`, those of what it calls left out; and measures what telling
 * costs, in a function that does nothing else.
 */
import * as host from "../../../../sim/xs/host-natives.js";

interface Profiled {
  profileIn?: (module: string) => void;
  profileOut?: () => void;
}

/** What is not in any function of the library: the program, promises and the engine's own functions. */
const OUTSIDE = "outside";

export interface ModuleCount {
  codes: number;
  calls: number;
  /** Of functions that tell. */
  callsMade: number;
}

export interface Profile {
  readonly modules: Readonly<Record<string, ModuleCount>>;
  /** What telling costs, byte codes a call: in the function that tells, and in the one that called it. */
  readonly own: number;
  readonly callers: number;
}

const spent = new Map<string, ModuleCount>();
const stack: string[] = [];
let last = 0;
let own = 0;
let callers = 0;

const global = globalThis as Profiled;

function of(module: string): ModuleCount {
  let row = spent.get(module);
  if (row === undefined) spent.set(module, (row = { codes: 0, calls: 0, callsMade: 0 }));
  return row;
}

global.profileIn = (module) => {
  const now = host.meter();
  const caller = of(stack[stack.length - 1] ?? OUTSIDE);
  caller.codes += now - last;
  caller.callsMade++;
  of(module).calls++;
  stack.push(module);
  last = host.meter();
};

global.profileOut = () => {
  const now = host.meter();
  of(stack.pop() ?? OUTSIDE).codes += now - last;
  last = host.meter();
};

function nothing(): number {
  global.profileIn?.("nothing");
  try {
    return 1;
  } finally {
    global.profileOut?.();
  }
}

function bare(): number {
  return 1;
}

/** Measures what telling costs, and counts from here on. */
export function startProfile(): void {
  const times = 100;
  const before = host.meter();
  for (let n = 0; n < times; n++) bare();
  const plain = host.meter() - before;
  spent.clear();
  last = host.meter();
  for (let n = 0; n < times; n++) nothing();
  own = of("nothing").codes / times;
  callers = (of(OUTSIDE).codes - plain) / times;
  spent.clear();
  last = host.meter();
}

export function endProfile(): Profile {
  of(OUTSIDE).codes += host.meter() - last;
  return { modules: Object.fromEntries(spent), own, callers };
}
