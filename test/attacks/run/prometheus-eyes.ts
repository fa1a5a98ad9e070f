/** A real Prometheus with the shipped configuration and rules, whose clock runs faster. */
import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { scaledRules } from "./scaled-rules.js";

const EXAMPLES = fileURLToPath(new URL("../../../../examples/monitoring", import.meta.url));
/** Of the rules' windows; Prometheus looks twice a second. */
const DIVISOR = 60;
const LEAST_S = 3;

export type StartProcess = (command: string, args: readonly string[], cwd: string) => ChildProcess;

export interface Eyes {
  answers(metric: string): Promise<void>;
  /** When this alert fires, with its rule's label where it has one. */
  firing(alert: string, sinceMs: number): Promise<number>;
}

const LOOK_MS = 100;

export function startPrometheus(
  start: StartProcess,
  { cwd, metricsUrl, port, giveUpMs }: { cwd: string; metricsUrl: string; port: number; giveUpMs: number },
): Eyes {
  const rules = readFileSync(join(EXAMPLES, "hawser-rules.yml"), "utf8");
  writeFileSync(join(cwd, "hawser-rules.yml"), scaledRules(rules, DIVISOR, LEAST_S));
  const config = readFileSync(join(EXAMPLES, "prometheus.yml"), "utf8");
  const faster = config.replaceAll("15s", "500ms").replace("localhost:9883", new URL(metricsUrl).host);
  // No Alertmanager runs here.
  writeFileSync(join(cwd, "prometheus.yml"), faster.replace(/^alerting:\n(?: .*\n)*/m, ""));
  const place = ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", `--web.listen-address=127.0.0.1:${port}`, "--log.level=error"];
  start("prometheus", place, cwd);
  const ask = async (path: string): Promise<string> =>
    fetch(`http://127.0.0.1:${port}/api/v1/${path}`).then(
      (response) => response.text(),
      () => "{}",
    );
  return {
    async answers(metric) {
      while (!(await ask(`query?query=${metric}`)).includes('"value"')) await delay(LOOK_MS);
    },
    async firing(alert, sinceMs) {
      interface Answer {
        readonly data?: { readonly alerts: readonly { state: string; labels: { alertname: string; rule?: string } }[] };
      }
      for (;;) {
        const { data } = JSON.parse(await ask("alerts")) as Answer;
        const names = (data?.alerts ?? []).flatMap(({ state, labels: { alertname, rule } }) =>
          state === "firing" ? [alertname, `${alertname} ${rule ?? ""}`] : [],
        );
        if (names.includes(alert)) return performance.now();
        if (performance.now() - sinceMs > giveUpMs) throw new Error(`${alert} does not fire; firing are: ${names.join(", ")}`);
        await delay(LOOK_MS);
      }
    },
  };
}
