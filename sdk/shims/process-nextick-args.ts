/** `process.nextTick` with arguments, for engines without Node. Bundled in place of `process-nextick-args` for the device. */
export function nextTick<Values extends unknown[]>(run: (...values: Values) => void, ...values: Values): void {
  void Promise.resolve().then(() => run(...values));
}
