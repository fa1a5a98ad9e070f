/** What Prometheus is told of a CA: its devices by state, enrolments, certificates and revocation lists. No id is a label. */
import { errorMessage } from "../../../sdk/errors.js";
import { CERTIFICATE_KINDS, DEVICE_STATES } from "./fleet-summary.js";
import type { FleetFacts } from "./fleet-summary.js";
import type { AuthorityEvent } from "./trail-tail.js";

const FAMILIES = {
  hawser_authority_up: ["gauge", "1 while the CA directory can be read, else 0."],
  hawser_devices: ["gauge", "Devices of the CA, by state."],
  hawser_enrolments_total: [
    "counter",
    "Certificates that devices asked for (recovery: without proof of a present one), by what came of it.",
  ],
  hawser_authority_changes_total: ["counter", "Changes of the CA on its audit trail."],
  hawser_crl_next_update_timestamp_seconds: ["gauge", "When the revocation list expires: brokers then refuse everybody."],
  hawser_crl_entries: ["gauge", "Certificates on the revocation list."],
  hawser_certificate_not_after_timestamp_seconds: ["gauge", "When a certificate of the CA ends."],
} as const satisfies Readonly<Record<string, readonly [type: "counter" | "gauge", help: string]>>;

export const FLEET_METRIC_NAMES: readonly string[] = Object.keys(FAMILIES);

const ENROLMENTS = ["full issued", "recovery issued", "recovery refused"] as const;
type Enrolment = (typeof ENROLMENTS)[number];

export class FleetMetrics {
  readonly #facts: (nowMs: number) => FleetFacts;
  readonly #failed: (reason: string) => void;
  readonly #enrolments = new Map<Enrolment, number>();
  #changes = 0;
  #isFailing = false;

  /**
   * @param facts what the CA is now; may throw
   * @param failed told why the CA cannot be read, once for each time
   */
  constructor(facts: (nowMs: number) => FleetFacts, failed: (reason: string) => void) {
    this.#facts = facts;
    this.#failed = failed;
  }

  event(event: AuthorityEvent): void {
    this.#changes += 1;
    const enrolment = enrolmentOf(event);
    if (enrolment !== undefined) this.#enrolments.set(enrolment, (this.#enrolments.get(enrolment) ?? 0) + 1);
  }

  /** In Prometheus' text format. What a CA that cannot be read said before is left out. */
  render(nowMs: number): string {
    const facts = this.#read(nowMs);
    const lines: string[] = [];
    const family = (name: keyof typeof FAMILIES, series: readonly (readonly [labels: string, value: number])[]): void => {
      const [type, help] = FAMILIES[name];
      if (series.length > 0) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const [labels, value] of series) lines.push(`${name}${labels} ${value}`);
    };
    family("hawser_authority_up", [["", facts === undefined ? 0 : 1]]);
    family("hawser_authority_changes_total", [["", this.#changes]]);
    family(
      "hawser_enrolments_total",
      ENROLMENTS.map((enrolment) => {
        const [scope, result] = enrolment.split(" ");
        return [`{scope="${scope ?? ""}",result="${result ?? ""}"}`, this.#enrolments.get(enrolment) ?? 0];
      }),
    );
    if (facts === undefined) return `${lines.join("\n")}\n`;
    family(
      "hawser_devices",
      DEVICE_STATES.map((state) => [`{state="${state}"}`, facts.devices[state]]),
    );
    family("hawser_crl_next_update_timestamp_seconds", [["", facts.crlNextUpdateMs / 1000]]);
    family("hawser_crl_entries", [["", facts.crlEntries]]);
    family(
      "hawser_certificate_not_after_timestamp_seconds",
      CERTIFICATE_KINDS.flatMap((kind) => {
        const endsMs = facts.notAfterMs[kind];
        return endsMs === undefined ? [] : [[`{kind="${kind}"}`, endsMs / 1000] as const];
      }),
    );
    return `${lines.join("\n")}\n`;
  }

  #read(nowMs: number): FleetFacts | undefined {
    try {
      const facts = this.#facts(nowMs);
      this.#isFailing = false;
      return facts;
    } catch (error) {
      if (!this.#isFailing) this.#failed(errorMessage(error));
      this.#isFailing = true;
      return undefined;
    }
  }
}

/** A request that is refused for a name in use came over the pre-shared key: others are refused without a trace on the trail. */
function enrolmentOf({ change, detail = "" }: AuthorityEvent): Enrolment | undefined {
  if (change === "enrolled") return /(?:^| )(?:recoveredFrom|proof)=/.test(detail) ? "recovery issued" : "full issued";
  if (change === "enrolment-refused") return "recovery refused";
  return undefined;
}
