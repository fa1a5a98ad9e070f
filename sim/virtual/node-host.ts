/** Runs worlds on Node: how to let promises settle there, and how to hear of the ones nobody looks at. */
import type { DrainMicrotasks } from "./time/virtual-time.js";
import { World, type WorldOptions, type WorldResult } from "./world/world.js";

/** `setImmediate` comes after every promise reaction that is ready. */
export const drainOnNode: DrainMicrotasks = () => new Promise((resolve) => setImmediate(resolve));

/** Runs one world; a rejection that nobody handles counts against the SDK. */
export async function runWorld(options: Omit<WorldOptions, "drain">): Promise<WorldResult> {
  const world = new World({ ...options, drain: drainOnNode });
  const onUnhandled = (error: unknown): void => world.unhandled(error);
  process.on("unhandledRejection", onUnhandled);
  try {
    return await world.run();
  } finally {
    process.off("unhandledRejection", onUnhandled);
  }
}
