/** A terminal shows one line a head, kept up to date, and a field that takes every scan. Its words are those of the operator's page. */
import type { HeadView, StationEvent, StationView, Totals } from "../../station/factory/head-view.js";
import type { PageTexts } from "../../station/page/page-texts.js";
import { FullScreen } from "../full-screen.js";
import type { PromptInput } from "../../../sim/node/vault/passphrase.js";
import { printable } from "../terminal.js";
import type { Screen } from "../terminal.js";
import { HEAD_COLOURS, unlistedLine } from "./station-display.js";
import type { StationDisplay } from "./station-display.js";

export interface TerminalViewOptions {
  readonly station: { view(): StationView; scan(text: string): Promise<unknown> };
  readonly texts: PageTexts;
  readonly screen: Screen;
  /** Left out when standard input is not a terminal: scans then come from elsewhere. */
  readonly keyboard?: PromptInput;
  /** Ctrl-C was pressed. */
  readonly onInterrupt: () => void;
}

const SECOND_MS = 1_000;
/** Changes that come together are drawn together; far below what anybody notices. */
const DRAW_MS = 50;
const LONGEST_SCAN = 2_048;

/** Takes the terminal until it is closed; then it is as before, with the heads as they were last. */
export function terminalView({ station, texts, screen, keyboard, onInterrupt }: TerminalViewOptions): StationDisplay {
  let [typed, answer, notice] = ["", "", ""];
  let isClosed = false;
  let drawing: NodeJS.Timeout | undefined;
  const draw = (): void => {
    drawing = undefined;
    if (isClosed) return;
    const { columns, rows } = screen.size();
    const lines = [
      ...viewLines(station.view(), texts, Date.now()),
      ...(notice === "" ? [] : [{ text: notice, colour: "yellow" as const }]),
      { text: answer },
    ];
    const field = `${texts.scan}> ${printable(typed).slice(-Math.max(1, columns - texts.scan.length - 4))}`;
    const fitting = lines.slice(0, Math.max(0, rows - 1)).map(({ text, colour }) => paint(screen, colour, cut(printable(text), columns)));
    taken.draw([...fitting, cut(field, columns)]);
  };
  const drawSoon = (): void => void (drawing ??= setTimeout(draw, DRAW_MS));
  const onKeys = (chunk: Buffer): void => {
    for (const key of chunk.toString("utf8")) {
      if (key === "\u0003") onInterrupt();
      else if (key === "\r" || key === "\n" || key === "\t") {
        if (typed.trim() !== "") void station.scan(typed);
        typed = "";
      } else if (key === "\u007f" || key === "\b") typed = typed.slice(0, -1);
      else if (key >= " " && typed.length < LONGEST_SCAN) typed += key;
    }
    drawSoon();
  };
  const taken = new FullScreen(screen, keyboard, onKeys);
  const clock = setInterval(draw, SECOND_MS);
  const stopWatchingSize = screen.onResize(drawSoon);
  draw();
  return {
    show(event: StationEvent) {
      if (event.type === "scan") answer = event.message;
      if (event.type === "unlisted") notice = event.ports.length === 0 ? "" : unlistedLine(event.ports);
      drawSoon();
    },
    notice(_name, _fields, summary) {
      notice = summary;
      drawSoon();
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      clearInterval(clock);
      clearTimeout(drawing);
      stopWatchingSize();
      taken.leave();
      screen.write(
        viewLines(station.view(), texts, Date.now())
          .map(({ text, colour }) => `${paint(screen, colour, printable(text))}\n`)
          .join(""),
      );
    },
  };
}

interface ViewLine {
  readonly text: string;
  readonly colour?: Parameters<Screen["paint"]>[0];
}

/** Order, figures, a line a head. */
export function viewLines({ isRunning, order, heads, totals }: StationView, texts: PageTexts, nowMs: number): ViewLine[] {
  const firmware = order.firmware === undefined ? [] : [`${texts.firmware} ${order.firmware}`];
  const facts = [
    `${texts.operator} ${order.operator}`,
    `${texts.order} ${order.order}`,
    `${texts.product} ${order.product}`,
    `${texts.role} ${order.role}`,
    ...firmware,
  ];
  const nameWidth = Math.max(texts.head.length, ...heads.map(({ name }) => name.length));
  const stateWidth = Math.max(...heads.map(({ state }) => texts[`state.${state}`].length), 0);
  const idWidth = Math.max(...heads.map(({ id, mac }) => (id ?? mac ?? "").length), 0);
  return [
    { text: `${texts.title}: ${facts.join(", ")}`, colour: "bold" },
    { text: figures(totals, order.target, texts), ...(!isRunning && { colour: "dim" as const }) },
    { text: "" },
    ...heads.map((head) => ({
      text: [
        head.name.padEnd(nameWidth),
        texts[`state.${head.state}`].padEnd(stateWidth),
        (head.id ?? head.mac ?? "").padEnd(idWidth),
        secondsOf(head, texts, nowMs).padStart(7),
        whatToKnow(head, texts),
      ]
        .join("  ")
        .trimEnd(),
      colour: HEAD_COLOURS[head.state],
    })),
    { text: "" },
  ];
}

function figures(totals: Totals, target: number | undefined, texts: PageTexts): string {
  const { passed, failed, firstPassYield, boardsPerHour, queued, caDaysLeft, isClockPlausible } = totals;
  return [
    `${texts.passed} ${passed}${target === undefined ? "" : ` / ${target}`}`,
    `${texts.failed} ${failed}`,
    ...(firstPassYield === undefined ? [] : [`${texts.yield} ${Math.round(firstPassYield * 100)} %`]),
    `${texts.perHour} ${boardsPerHour}`,
    ...(queued === undefined ? [] : [`${texts.queued} ${queued}`]),
    ...(caDaysLeft === undefined ? [] : [`${texts.caDays} ${caDaysLeft}`]),
    `${texts.clock} ${isClockPlausible ? texts.clockGood : texts.clockBad}`,
  ].join(", ");
}

function secondsOf({ state, seconds, sinceMs }: HeadView, texts: PageTexts, nowMs: number): string {
  const isOver = state === "passed" || state === "failed";
  const shown = isOver
    ? seconds
    : state === "empty" || state === "no-port"
      ? undefined
      : Math.max(0, Math.round((nowMs - sinceMs) / 1_000));
  return shown === undefined ? "" : `${shown} ${texts.seconds}`;
}

function whatToKnow({ port, state, step, retries, failure, waitsFor, wasDone = false }: HeadView, texts: PageTexts): string {
  if (failure !== undefined) return `${failure.message}. ${failure.next}`;
  if (waitsFor !== undefined) return texts[`waits.${waitsFor}`];
  if (wasDone) return texts["hint.wasDone"];
  if (state === "working") return `${step ?? ""}${retries > 0 ? `, ${texts.attempt} ${retries + 1}` : ""}`;
  const hint = (texts as Readonly<Record<string, string>>)[`hint.${state}`] ?? "";
  return state === "no-port" ? `${port}: ${hint}` : hint;
}

function paint(screen: Screen, colour: ViewLine["colour"], text: string): string {
  return colour === undefined || text === "" ? text : screen.paint(colour, text);
}

/** A line that is too long would push the others down. */
function cut(text: string, columns: number): string {
  return text.length < columns ? text : `${text.slice(0, Math.max(0, columns - 2))}\u2026`;
}
