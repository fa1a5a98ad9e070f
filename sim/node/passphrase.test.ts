import { EventEmitter } from "node:events";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { passphraseSources, readPassphrase } from "./passphrase.js";
import type { PassphraseRequest, PassphraseSource, PromptInput } from "./passphrase.js";

const room = mkdtempSync(join(tmpdir(), "hawser-passphrase-"));
afterAll(() => rmSync(room, { recursive: true }));

function file(name: string, content: string, mode = 0o600): string {
  const path = join(room, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** A terminal at which the answers are typed, one for each prompt; what it shows is in `screen`. */
class Terminal extends EventEmitter implements PromptInput {
  readonly isTTY = true;
  screen = "";
  raw = false;
  readonly #answers: (string | Buffer[])[];

  constructor(...answers: (string | Buffer[])[]) {
    super();
    this.#answers = answers;
  }

  setRawMode(raw: boolean): void {
    this.raw = raw;
  }

  resume(): void {
    const answer = this.#answers.shift();
    if (answer === undefined) throw new Error("asked once too often");
    setImmediate(() => {
      for (const chunk of typeof answer === "string" ? [Buffer.from(answer)] : answer) this.emit("data", chunk);
    });
  }

  pause(): void {
    this.screen += "(paused)";
  }

  readonly output = { isTTY: true, write: (text: string): void => void (this.screen += text) };
}

const nobody = new Terminal();

function read(sources: PassphraseSource[], environment: Record<string, string> = {}, terminal: Terminal | undefined = undefined, isNew = false): Promise<string> {
  const request: PassphraseRequest = { sources, purpose: "the vault", isNew };
  if (terminal !== undefined) return readPassphrase(request, { environment, input: terminal, output: terminal.output });
  return readPassphrase(request, { environment, input: Object.assign(Object.create(nobody) as Terminal, { isTTY: false }), output: nobody.output });
}

describe("a passphrase", () => {
  it("comes from the first source that is set: for this one thing first, then for all, then the terminal", async () => {
    const files = { specific: file("ca", "from the CA file\n"), general: file("all", "from the file\r\n") };
    const all = { HAWSER_CA_PASSPHRASE: "from the CA variable", HAWSER_PASSPHRASE: "from the variable", HAWSER_VAULT_PASSPHRASE: "for vaults" };
    const { HAWSER_CA_PASSPHRASE: _ca, ...general } = all;
    expect(await read(passphraseSources("ca", files), all)).toBe("from the CA variable");
    expect(await read(passphraseSources("ca", files), general)).toBe("from the CA file");
    expect(await read(passphraseSources("ca", { general: files.general }), general)).toBe("from the variable");
    expect(await read(passphraseSources("ca", { general: files.general }))).toBe("from the file");
    expect(await read(passphraseSources("ca", {}), {}, new Terminal("typed\r"))).toBe("typed");
    expect(await read(passphraseSources("vault", {}), all)).toBe("for vaults");
  });

  it("is required: none, or an empty one, is an error that says how to give one", async () => {
    await expect(read(passphraseSources("ca", {}))).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED", nextStep: expect.stringContaining("HAWSER_PASSPHRASE") as string });
    await expect(read(passphraseSources("ca", {}), { HAWSER_PASSPHRASE: "" })).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED" });
    await expect(read([{ file: file("empty", "\n") }])).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED" });
    await expect(read([], {}, new Terminal("\r"))).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED" });
  });

  it("is not taken from a file that every user may read", async () => {
    const path = file("exposed", "secret words", 0o644);
    await expect(read([{ file: path }])).rejects.toMatchObject({ code: "PASSPHRASE_FILE_EXPOSED", nextStep: `Run: chmod 600 ${path}` });
    await expect(read([{ file: path }])).rejects.not.toThrow("secret");
    expect(await read([{ file: file("group", "secret words", 0o640) }])).toBe("secret words");
  });

  it("is not guessed at when its file is missing or holds more than a line", async () => {
    await expect(read([{ file: join(room, "nowhere") }], { HAWSER_PASSPHRASE: "x" })).rejects.toMatchObject({ code: "PASSPHRASE_FILE_UNREADABLE" });
    await expect(read([{ file: room }])).rejects.toMatchObject({ code: expect.stringMatching(/^PASSPHRASE_FILE_/) as string });
    await expect(read([{ file: file("two", "one\ntwo\n") }])).rejects.toMatchObject({ code: "PASSPHRASE_FILE_UNREADABLE" });
  });

  it("keeps its blanks", async () => {
    expect(await read([{ file: file("blanks", "  two words \n") }])).toBe("  two words ");
  });
});

describe("the prompt", () => {
  it("shows nothing of what is typed and leaves the terminal as it was", async () => {
    const terminal = new Terminal("opensesame\r");
    expect(await read([], {}, terminal)).toBe("opensesame");
    expect(terminal.screen).toBe("Passphrase for the vault: (paused)\n");
    expect([terminal.raw, terminal.listenerCount("data")]).toEqual([false, 0]);
  });

  it("understands corrections, and letters that arrive in pieces", async () => {
    const bytes = [...Buffer.from("wrong\u0015grx\u007füße\u001b\n")].map((byte) => Buffer.of(byte));
    expect(await read([], {}, new Terminal(bytes))).toBe("grüße");
    expect(await read([], {}, new Terminal("x\u0004"))).toBe("x");
  });

  it("asks twice for a new passphrase", async () => {
    expect(await read([], {}, new Terminal("same\r", "same\r"), true)).toBe("same");
    await expect(read([], {}, new Terminal("one\r", "other\r"), true)).rejects.toMatchObject({ code: "PASSPHRASE_MISMATCH" });
  });

  it("gives up on Ctrl-C", async () => {
    const terminal = new Terminal("half\u0003");
    await expect(read([], {}, terminal)).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(terminal.raw).toBe(false);
  });
});
