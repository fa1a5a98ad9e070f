/** Follows a broker's log and hands on its events, each once: from a file that rotates, or from a pipe. */
import { HawserError } from "../../sdk/errors.js";
import type { EventFile, ResumePoint } from "./event-file.js";
import { LogEvents } from "./log-events.js";
import type { BrokerEvent, ReaderState } from "./log-events.js";
import type { LogFormat } from "./log-formats.js";
import type { BehaviourWatch } from "./profiles/behaviour-watch.js";
import { HalfOpenWatch } from "./half-open-watch.js";
import { LogTail, MAX_LINE_BYTES } from "./log-tail.js";
import { CUT_LINE_BYTES } from "./mosquitto-line.js";
import { OffenderWatch } from "./offender-watch.js";
import type { Alert } from "./alert.js";
import type { DeviceReport } from "./device-reports.js";
import type { Offender } from "./offender-watch.js";
import type { AuthorityEvent } from "./authority/trail-tail.js";
import { TrailTail } from "./authority/trail-tail.js";
import { PipeLines } from "./pipe-lines.js";

/** `log-gap`: lines of the log are lost, with what is known of them. */
export type MonitorEvent =
  BrokerEvent | Alert | AuthorityEvent | DeviceReport | { readonly kind: "log-gap"; readonly detail: string; readonly timeMs: number };

export interface MonitorOwner {
  event(event: MonitorEvent): void;
  /** A TCP connection. Nothing else is known of it yet. */
  accepted(): void;
}

export interface MonitorOptions {
  /** Where events are kept; without it nothing is remembered between runs. */
  readonly events?: EventFile | undefined;
  /** Judges what clients do that were let in. */
  readonly behaviour?: BehaviourWatch | undefined;
  /** With what is known of offenders; otherwise nothing is. */
  readonly offenders?: OffenderWatch | undefined;
  /** What wrote the log; mosquitto without it. */
  readonly format?: LogFormat | undefined;
  /** The broker's version, when the log no longer says it. */
  readonly version?: string | undefined;
  /** A CA directory whose audit trail is followed too. */
  readonly authority?: string | undefined;
  /** Ignore what is in the log and the trail, and where the last run stopped. */
  readonly newOnly?: boolean | undefined;
}

/** An event as the event file and `--json` have it, without its time. */
export function eventFields({ timeMs: _, kind, ...fields }: MonitorEvent): Readonly<Record<string, string | number>> {
  return { event: kind, ...fields };
}

/** A pipe has no position. */
const NOWHERE = { inode: 0, offset: 0, head: "", modifiedMs: 0 };

/**
 * Each event says itself where it was read, so this bounds only how much of a log without events is read again after a kill.
 * Oftener, a flash card would wear.
 */
const CHECKPOINT_MS = 2000;

export class LogMonitor {
  readonly #owner: MonitorOwner;
  readonly #events: EventFile | undefined;
  readonly #reader: LogEvents;
  readonly #offenders: OffenderWatch;
  readonly #behaviour: BehaviourWatch | undefined;
  readonly #halfOpen = new HalfOpenWatch();
  readonly #tail: LogTail | undefined;
  readonly #pipe = new PipeLines({ line: (text) => this.#line(text, 0), tooLong: () => this.#tooLong() });
  readonly #trail: TrailTail | undefined;
  readonly #newOnly: boolean;
  /** Kept for a later run that follows the trail, where this one does not. */
  readonly #trailBefore: number | undefined;
  #isStarted = false;
  #hasToldOfLongLine = false;
  #hasToldOfCutLine = false;
  #checkpointedMs = Number.NEGATIVE_INFINITY;
  #untrusted: HawserError | undefined;

  /** @param path the log; undefined for one that comes through {@link input} */
  constructor(path: string | undefined, owner: MonitorOwner, options: MonitorOptions) {
    const { events, version, newOnly = false, behaviour, offenders = new OffenderWatch() } = options;
    this.#behaviour = behaviour;
    this.#offenders = offenders;
    this.#owner = owner;
    this.#events = events;
    this.#newOnly = newOnly;
    this.#trailBefore = events?.resume?.trail;
    const resume = newOnly || events?.resume?.log.head === NOWHERE.head ? undefined : events?.resume;
    const state = { version: resume?.reader.version ?? version, owed: resume?.reader.owed ?? 0 };
    this.#reader = new LogEvents(
      {
        accepted: (peer, timeMs, end, state) => {
          owner.accepted();
          this.#alert(this.#halfOpen.accepted(peer, timeMs), state, end);
        },
        event: (event, end, state, peer) => this.#event(event, state, end, peer),
        published: (publish, end, state) => this.#alert(behaviour?.published(publish), state, end),
        cut: () => this.#cut(),
        untrusted: (line) => (this.#untrusted ??= forgeable(line)),
      },
      state,
      Date.now,
      options.format,
    );
    this.#trail = options.authority === undefined ? undefined : this.#trailOf(options.authority, newOnly);
    if (path === undefined) return;
    const line = (text: string, end: number): void => this.#line(text, end);
    this.#tail = new LogTail(path, { line, generationEnded: () => this.#reader.flush(), gap: (detail) => this.#gap(detail) }, resume?.log);
  }

  /**
   * Reports everything written to the log since the last call.
   * @throws HawserError `LOG_FORGEABLE` when clients can write into this log; as `LogTail.poll` and `EventFile`
   */
  async poll(): Promise<void> {
    if (this.#tail === undefined) return;
    if (!this.#isStarted && this.#newOnly) await this.#tail.skipToEnd();
    this.#isStarted = true;
    await this.#tail.poll();
    this.#settle();
  }

  /** Lines read so far, when none of them looks like the broker's. */
  get unfamiliarLines(): number {
    return this.#reader.unfamiliarLines;
  }

  /** Reports the events in the lines that a pipe's bytes complete. Throws as {@link poll}. */
  input(bytes: Buffer): void {
    this.#pipe.push(bytes);
    this.#settle();
  }

  /** The pipe was closed: its last line may have no line feed. Throws as {@link poll}. */
  inputEnded(): void {
    this.#pipe.end();
    this.#settle();
  }

  /** Nothing more is written for now: reports what waited for a second line, and now and then makes the position durable. */
  idle(): void {
    this.#reader.flush();
    this.#settle();
    const nowMs = performance.now();
    if (nowMs - this.#checkpointedMs < CHECKPOINT_MS) return;
    this.checkpoint();
    this.#checkpointedMs = nowMs;
  }

  /**
   * Looks for what only a clock tells: devices that went silent, and connections that do not sign in. Call it at the end of what is
   * written so far.
   */
  look(nowMs: number): void {
    this.#alert(this.#halfOpen.look(nowMs), this.#reader.state);
    this.#alert(this.#behaviour?.look(nowMs), this.#reader.state);
    this.#settle();
  }

  /**
   * Reports what the CA did since the last call.
   * @throws the system's errors when its audit trail cannot be read; as `EventFile`
   */
  lookAtAuthority(): void {
    this.#trail?.poll();
    this.#settle();
  }

  /** An event that does not come from the log. Throws as `EventFile`. */
  reported(event: BrokerEvent): void {
    this.#event(event, this.#reader.state);
    this.#settle();
  }

  /** What a device says of itself. Throws as `EventFile`. */
  deviceReported(report: DeviceReport): void {
    this.#keep(report, this.#reader.state);
    this.#owner.event(report);
    this.#settle();
  }

  /** Who fails most now. */
  topOffenders(count: number, nowMs: number): Offender[] {
    return this.#offenders.top(count, nowMs);
  }

  /** Makes durable what was reported and how far the log was read: before the process ends in good order. */
  checkpoint(): void {
    const log = this.#tail === undefined ? NOWHERE : this.#tail.position;
    if (log !== undefined) this.#events?.checkpoint({ log, reader: this.#reader.state, ...this.#trailPosition() });
  }

  close(): void {
    this.#tail?.close();
  }

  #line(text: string, end: number): void {
    // Behind a line that a client may have written, nothing is believed.
    if (this.#untrusted === undefined) this.#reader.line(text, end);
  }

  #settle(): void {
    this.#events?.flush();
    if (this.#untrusted !== undefined) throw this.#untrusted;
  }

  #event(event: BrokerEvent, reader: ReaderState, end?: number, peer?: string): void {
    this.#keep(event, reader, end);
    this.#owner.event(event);
    const alert = this.#offenders.event(event);
    if (alert !== undefined) this.#alert([alert], reader, end);
    this.#alert(this.#halfOpen.event(event, peer), reader, end);
    this.#alert(this.#behaviour?.event(event), reader, end);
  }

  #alert(alerts: readonly Alert[] | undefined, reader: ReaderState, end?: number): void {
    for (const alert of alerts ?? []) {
      this.#keep(alert, reader, end);
      this.#owner.event(alert);
    }
  }

  #trailOf(directory: string, newOnly: boolean): TrailTail {
    const event = (event: AuthorityEvent, end: number): void => {
      this.#keep(event, this.#reader.state, undefined, end);
      this.#owner.event(event);
    };
    const shortened = (): void => this.#gap("the audit trail of the CA is shorter than it was: a backup was restored, or it was cut");
    return new TrailTail(directory, { event, shortened }, newOnly ? undefined : (this.#trailBefore ?? 0));
  }

  #trailPosition(end?: number): Pick<ResumePoint, "trail"> {
    const trail = end ?? this.#trail?.offset ?? this.#trailBefore;
    return trail === undefined ? {} : { trail };
  }

  /** Said once, so that a pipe of such lines does not fill the event file. */
  #tooLong(): void {
    if (!this.#hasToldOfLongLine)
      this.#gap(`a line of more than ${MAX_LINE_BYTES} bytes was dropped, as all such lines are: mosquitto writes none`);
    this.#hasToldOfLongLine = true;
  }

  /** Said once, because whoever causes it can cause it again and again. */
  #cut(): void {
    if (this.#hasToldOfCutLine) return;
    this.#hasToldOfCutLine = true;
    this.#tellGap(
      `the end of a line of ${CUT_LINE_BYTES} bytes, where mosquitto cuts: a client with such a long id, user name or topic is not named, and not counted by profiles`,
    );
  }

  #gap(detail: string): void {
    this.#reader.flush();
    this.#halfOpen.forget();
    this.#tellGap(detail);
  }

  #tellGap(detail: string): void {
    const event: MonitorEvent = { kind: "log-gap", detail, timeMs: Date.now() };
    this.#keep(event, this.#reader.state);
    this.#owner.event(event);
  }

  #keep(event: MonitorEvent, reader: ReaderState, end?: number, trailEnd?: number): void {
    if (this.#events === undefined) return;
    const log = end === undefined || this.#tail === undefined ? this.#tail?.position : this.#tail.positionAt(end);
    const at: ResumePoint = { log: log ?? NOWHERE, reader, ...this.#trailPosition(trailEnd) };
    this.#events.append({ time: new Date(event.timeMs).toISOString(), ...eventFields(event) }, at);
  }
}

function forgeable(line: string): HawserError {
  const shown = line.length > 80 ? `${line.slice(0, 80)}...` : line;
  const what = `the log holds lines that begin with a client's text, as log_type subscribe, unsubscribe and all write them: ${JSON.stringify(shown)}`;
  return new HawserError(
    "LOG_FORGEABLE",
    what,
    "Clients can forge events in it. Log error, warning, notice, information and, for denied publishes, debug; restart mosquitto, and start again with --new-only.",
  );
}
