/** Server-sent events with replay: who was away for a moment gets what it missed, who was away for long gets everything as it is now. */
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { StationEvent, StationView } from "../factory/head-view.js";

const KEPT_EVENTS = 500;
const MAX_READERS = 32;
/** A reader that takes nothing while so much waits for it is let go; it comes back by itself. */
const MAX_WAITING_BYTES = 1_000_000;

export class EventLog {
  /** Numbers of another run say nothing about this one. */
  readonly #run = randomBytes(6).toString("hex");
  readonly #events: { readonly n: number; readonly text: string }[] = [];
  readonly #readers = new Set<ServerResponse>();
  #n = 0;

  constructor(private readonly view: () => StationView) {}

  add(event: StationEvent): void {
    const n = ++this.#n;
    const text = `id: ${this.#run}-${n}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
    this.#events.push({ n, text });
    if (this.#events.length > KEPT_EVENTS) this.#events.shift();
    this.#send(text);
  }

  /** Tells readers that the station is there. */
  beat(): void {
    this.#send(`event: beat\ndata: ${Date.now()}\n\n`);
  }

  /** @param lastId what the reader had last, as its browser sends it */
  stream(response: ServerResponse, lastId: string | string[] | undefined): void {
    if (this.#readers.size >= MAX_READERS) {
      response.statusCode = 503;
      response.end("Too many pages are open.");
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("retry: 500\n\n");
    const [run, n] = String(lastId ?? "").split("-");
    const oldest = this.#events[0]?.n ?? this.#n + 1;
    const isKnown = run === this.#run && Number(n) >= oldest - 1 && Number(n) <= this.#n;
    if (isKnown) for (const event of this.#events) if (event.n > Number(n)) response.write(event.text);
    if (!isKnown) response.write(`id: ${this.#run}-${this.#n}\nevent: view\ndata: ${JSON.stringify(this.view())}\n\n`);
    this.#readers.add(response);
    response.once("close", () => this.#readers.delete(response));
  }

  close(): void {
    for (const reader of this.#readers) reader.destroy();
  }

  #send(text: string): void {
    for (const reader of this.#readers) {
      if (reader.writableLength > MAX_WAITING_BYTES) reader.destroy();
      else reader.write(text);
    }
  }
}
