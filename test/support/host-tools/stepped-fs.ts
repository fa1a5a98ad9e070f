/** `node:fs` for `vi.mock`: tells of each step that writing takes, so that a test can cut the work off there. Imports no disk itself. */
type Module = Readonly<Record<string, unknown>>;

/** @param after called after each call of these functions, unless it threw */
export function steppedFs(fs: Module, names: readonly string[], after: () => void): Module {
  const wrap =
    (call: (...args: unknown[]) => unknown) =>
    (...args: unknown[]): unknown => {
      const result = call(...args);
      after();
      return result;
    };
  return { ...fs, ...Object.fromEntries(names.map((name) => [name, wrap(fs[name] as (...args: unknown[]) => unknown)])) };
}
