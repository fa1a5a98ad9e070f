/** A timeline as steps in the order of time: each event's beginning, and its end where it has one. */
import type { Action, TimelineEvent } from "./scenario.js";

export interface Step {
  readonly atMs: number;
  /** What expectations call this moment. */
  readonly mark: string;
  readonly what: string;
  readonly event: TimelineEvent;
  readonly isEnd: boolean;
}

export function stepsOf(timeline: readonly TimelineEvent[]): Step[] {
  const steps = timeline.flatMap((event): Step[] => {
    const { name, atMs, forMs } = event;
    const begin: Step = { atMs, mark: name, what: `${name}: ${actionText(event.action)}`, event, isEnd: false };
    return forMs === undefined
      ? [begin]
      : [begin, { atMs: atMs + forMs, mark: `end of ${name}`, what: `end of ${name}`, event, isEnd: true }];
  });
  return steps.sort((a, b) => a.atMs - b.atMs);
}

function actionText(action: Action): string {
  switch (action.kind) {
    case "broker":
      return `broker ${action.to}`;
    case "authority":
      return `authority ${action.to}`;
    case "rollover":
      return "another issuing CA";
    case "revoke":
      return `${action.certificateOnly ? "revoked" : "shut out"}: ${action.ids.length} devices`;
    case "renew":
      return `${Math.round(action.share * 100)}% renew`;
    case "reach":
      return `network ${action.to}`;
    case "names":
      return `name servers ${action.resolve ? "up" : "down"}`;
    case "clock":
      return `clocks ${action.aheadMs < 0 ? "back" : "ahead"} by ${Math.round(Math.abs(action.aheadMs) / 1_000)} s`;
    case "toxics":
      return `network ${[...new Set(action.toxics.map(({ type }) => type))].join(", ")}`;
  }
}
