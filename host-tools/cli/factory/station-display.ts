/** What a station shows on its terminal: a line for each event, or a picture with one line a head that is kept up to date. */
import type { HeadView, StationEvent } from "../../station/factory/head-view.js";
import type { Colour, Json, Terminal } from "../terminal.js";

export interface StationDisplay {
  /** Something happened at the station. */
  show(event: StationEvent): void;
  /** Something beside it: where the page is, that rows cannot be sent. Fields are never secrets. */
  notice(name: string, fields: Readonly<Record<string, Json>>, summary: string, colour: Colour): void;
  /** Leaves the terminal as it was. */
  close(): void;
}

/** A line for each event; JSON with `--json`. */
export function eventDisplay(terminal: Terminal): StationDisplay {
  return {
    show: (event) => printEvent(terminal, event),
    notice: (name, fields, summary, colour) => terminal.event(name, fields, summary, colour),
    close: () => undefined,
  };
}

function printEvent(terminal: Terminal, event: StationEvent): void {
  if (event.type === "head") {
    const { step, id, ...head } = event.head;
    terminal.event(
      "head",
      { ...head, id, step, failure: head.failure && { ...head.failure } },
      headLine(event.head),
      HEAD_COLOURS[head.state],
    );
  } else if (event.type === "unlisted" && event.ports.length > 0) {
    terminal.event("unlisted", { ports: event.ports }, unlistedLine(event.ports), "yellow");
  } else if (event.type === "scan") {
    terminal.event("scan", { isAccepted: event.isAccepted, message: event.message }, event.message);
  }
}

export const HEAD_COLOURS: Readonly<Record<HeadView["state"], Colour>> = {
  "no-port": "dim",
  empty: "dim",
  waiting: "dim",
  working: "cyan",
  label: "yellow",
  approval: "yellow",
  passed: "green",
  failed: "red",
  held: "red",
};

export function unlistedLine(ports: readonly string[]): string {
  return `left alone, for no head names them: ${ports.join(", ")}`;
}

function headLine({ name, port, state, step, id, failure, seconds }: HeadView): string {
  const what =
    failure === undefined
      ? [state === "no-port" ? port : id, state === "working" ? step : undefined, seconds === undefined ? undefined : `${seconds} s`]
      : [id, `${failure.message}. ${failure.next}`];
  return [`head ${name}`, state, ...what].filter((part) => part !== undefined).join("  ");
}
