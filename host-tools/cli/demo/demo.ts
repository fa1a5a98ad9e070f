/** `hawser demo`: plays the story and ends with an error when any step did not happen. */
import { HawserError } from "../../../sdk/errors.js";
import type { Context } from "../command-runner.js";
import { printDeviceEvent } from "../simulated-device/event-lines.js";
import { Stage } from "./stage.js";
import { STORY } from "./story.js";

export interface DemoOptions {
  engine: "embedded" | "mosquitto";
  json?: boolean;
}

/** @throws HawserError `DEMO_STEP_FAILED`, `MOSQUITTO_MISSING`, `INTERRUPTED`, and those of the parts it plays with */
export async function runDemo({ engine }: DemoOptions, { terminal, stop }: Context): Promise<void> {
  const stage = new Stage(engine, (event) => printDeviceEvent(terminal, event));
  const startedMs = performance.now();
  const interrupted = stop.asked.then(() => {
    throw new HawserError("INTERRUPTED", "the demo was stopped by a signal", "Run it again.");
  });
  try {
    for (const [index, step] of STORY.entries()) {
      const number = index + 1;
      terminal.line(`\n${terminal.paint("bold", `${number}. ${step.title}`)}`);
      const stepStartedMs = performance.now();
      const detail = await Promise.race([step.play(stage), interrupted]);
      const elapsedMs = Math.round(performance.now() - stepStartedMs);
      terminal.event(
        "step",
        { step: number, title: step.title, ok: true, detail, elapsedMs },
        `done in ${seconds(elapsedMs)}: ${detail}`,
        "green",
      );
    }
  } finally {
    await stage.strike();
  }
  const elapsedMs = Math.round(performance.now() - startedMs);
  terminal.line("");
  terminal.event(
    "done",
    { steps: STORY.length, engine, elapsedMs },
    `all ${STORY.length} steps happened, in ${seconds(elapsedMs)}`,
    "green",
  );
  terminal.line(
    "\nNext: hawser init my-fleet creates a CA, a broker configuration and a device to\nkeep; my-fleet/README.md says how to run them.",
  );
}

function seconds(elapsedMs: number): string {
  return `${(elapsedMs / 1_000).toFixed(1)} s`;
}
