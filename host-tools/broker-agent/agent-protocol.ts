/** What agents and the authority say to each other: one HTTPS request, answered when there is something new. */

/** The name in the certificate of the authority's port for agents; no broker can have it. */
export const HUB_HOST = "agents.hawser-authority";
export const POLL_PATH = "/v1/poll";
/** An agent has a megabyte or two to fetch; what it sends is short. */
export const MAX_QUESTION_BYTES = 4096;
export const MAX_BUNDLE_BYTES = 256 * 1024 * 1024;
export const MAX_WAIT_MS = 30_000;

/** An agent's question. */
export interface Poll {
  /** The bundle it has. */
  readonly have: number;
  /** How long the answer may wait for a newer one. */
  readonly waitMs: number;
  readonly applied: number;
  readonly isServing: boolean;
  readonly aloneMs?: number;
  readonly failed?: { readonly sequence: number; readonly why: string };
}

export function parsePoll(text: string): Poll | undefined {
  try {
    const value = JSON.parse(text) as Partial<Poll> | null;
    const { have, waitMs, applied, isServing, aloneMs, failed } = value ?? {};
    if (!isCount(have) || !isCount(waitMs) || !isCount(applied) || typeof isServing !== "boolean") return undefined;
    if (aloneMs !== undefined && !isCount(aloneMs)) return undefined;
    if (failed !== undefined && (typeof failed !== "object" || !isCount(failed.sequence) || typeof failed.why !== "string"))
      return undefined;
    return {
      have,
      waitMs: Math.min(waitMs, MAX_WAIT_MS),
      applied,
      isServing,
      ...(aloneMs === undefined ? {} : { aloneMs }),
      // It is shown to operators: one line.
      ...(failed === undefined
        ? {}
        : { failed: { sequence: failed.sequence, why: failed.why.replace(/[^\x20-\x7e]/g, "?").slice(0, 300) } }),
    };
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
