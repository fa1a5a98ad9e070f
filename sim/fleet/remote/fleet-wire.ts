/**
 * Orders and answers of a fleet as bytes in pieces that NATS takes. NATS loses what it cannot deliver, and says nothing: pieces are
 * numbered, and a gap ends the conversation.
 */
/** Below NATS's usual limit of 1 MB. */
const PIECE_BYTES = 256 * 1024;
/** An account of 100,000 devices is a third of it. */
const MESSAGE_BYTES = 64 * 1024 * 1024;
/** Number of the message; number of the piece in it; pieces in all. */
const HEADER_BYTES = 12;

export class WireSender {
  #next = 0;

  constructor(private readonly publish: (piece: Uint8Array) => void) {}

  send(value: unknown): void {
    const bytes = Buffer.from(JSON.stringify(value, asText));
    const pieces = Math.max(1, Math.ceil(bytes.length / PIECE_BYTES));
    for (let at = 0; at < pieces; at++) {
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt32LE(this.#next, 0);
      header.writeUInt32LE(at, 4);
      header.writeUInt32LE(pieces, 8);
      this.publish(Buffer.concat([header, bytes.subarray(at * PIECE_BYTES, (at + 1) * PIECE_BYTES)]));
    }
    this.#next += 1;
  }
}

export class WireReceiver {
  #next = 0;
  #pieces: Buffer[] = [];

  constructor(private readonly heard: (value: unknown) => void) {}

  /** @throws Error saying what is wrong with it: a piece is missing, or it is none */
  take(piece: Uint8Array): void {
    const bytes = Buffer.from(piece);
    if (bytes.length < HEADER_BYTES) throw new Error("it sent something else");
    const [number, at, pieces] = [0, 4, 8].map((offset) => bytes.readUInt32LE(offset));
    if (number !== this.#next || at !== this.#pieces.length) throw new Error("messages of it were lost on the way");
    if (pieces === undefined || pieces < 1 || pieces * PIECE_BYTES > MESSAGE_BYTES) throw new Error("it sent too much");
    this.#pieces.push(bytes.subarray(HEADER_BYTES));
    if (this.#pieces.length < pieces) return;
    const text = Buffer.concat(this.#pieces).toString("utf8");
    this.#pieces = [];
    this.#next += 1;
    this.heard(JSON.parse(text, asBytes));
  }
}

/** Of the value itself: a Buffer's `toJSON` has turned what is handed in into something else. */
function asText(this: Readonly<Record<string, unknown>>, key: string, value: unknown): unknown {
  const own = this[key];
  return own instanceof Uint8Array ? { $bytes: Buffer.from(own).toString("base64") } : value;
}

function asBytes(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("$bytes" in value)) return value;
  return typeof value.$bytes === "string" ? new Uint8Array(Buffer.from(value.$bytes, "base64")) : value;
}
