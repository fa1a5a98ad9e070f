/// <reference lib="esnext.disposable" preserve="true" />
/** `await using` where the engine has it: XS and older engines have no `Symbol.asyncDispose`, and lose nothing. */

/** Gives a class `[Symbol.asyncDispose]`, which calls `dispose`. */
export function disposeBy<Instance extends object>(prototype: Instance, dispose: (this: Instance) => Promise<void>): void {
  const symbol = (Symbol as { asyncDispose?: symbol }).asyncDispose;
  if (symbol !== undefined) Object.defineProperty(prototype, symbol, { value: dispose });
}
