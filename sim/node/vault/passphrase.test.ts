import { execFileSync, spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { foreseenPassphrase, passphraseSources, readPassphrase } from "./passphrase.js";
import type { PassphraseRequest, PassphraseSource, PromptInput, PromptStop } from "./passphrase.js";

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
  questions = 0;
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
    this.questions += 1;
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

/** A stop that a test asks for. */
class Stop implements PromptStop {
  requested = false;
  #resolve: () => void = () => undefined;
  readonly asked = new Promise<void>((resolve) => (this.#resolve = resolve));

  request(): void {
    this.requested = true;
    this.#resolve();
  }
}

function read(
  sources: PassphraseSource[],
  environment: Record<string, string> = {},
  terminal: Terminal | undefined = undefined,
  isNew = false,
): Promise<string> {
  const request: PassphraseRequest = { sources, purpose: "the vault", isNew };
  if (terminal !== undefined) return readPassphrase(request, { environment, input: terminal, output: terminal.output });
  return readPassphrase(request, {
    environment,
    input: Object.assign(Object.create(nobody) as Terminal, { isTTY: false }),
    output: nobody.output,
  });
}

describe("a passphrase", () => {
  it("comes from the first source that is set: the command line, the environment, the terminal; in each for this one thing first, then for all", async () => {
    const files = { specific: file("ca", "from the CA file\n"), general: file("all", "from the file\r\n") };
    const all = {
      HAWSER_CA_PASSPHRASE: "from the CA variable",
      HAWSER_PASSPHRASE: "from the variable",
      HAWSER_VAULT_PASSPHRASE: "for vaults",
    };
    const { HAWSER_CA_PASSPHRASE: _ca, ...general } = all;
    expect(await read(passphraseSources("ca", files), all)).toBe("from the CA file");
    expect(await read(passphraseSources("ca", { general: files.general }), all)).toBe("from the file");
    expect(await read(passphraseSources("ca", {}), all)).toBe("from the CA variable");
    expect(await read(passphraseSources("ca", {}), general)).toBe("from the variable");
    expect(await read(passphraseSources("ca", {}), {}, new Terminal("typed\r"))).toBe("typed");
    expect(await read(passphraseSources("vault", {}), all)).toBe("for vaults");
  });

  it("comes from the file that a variable names, after the variable itself", async () => {
    const path = file("named", "from the named file\n");
    expect(await read(passphraseSources("ca", {}), { HAWSER_PASSPHRASE_FILE: path })).toBe("from the named file");
    expect(await read(passphraseSources("vault", {}), { HAWSER_VAULT_PASSPHRASE_FILE: path, HAWSER_PASSPHRASE: "x" })).toBe(
      "from the named file",
    );
    expect(await read(passphraseSources("ca", {}), { HAWSER_PASSPHRASE_FILE: path, HAWSER_PASSPHRASE: "x" })).toBe("x");
    await expect(read(passphraseSources("ca", {}), { HAWSER_PASSPHRASE_FILE: join(room, "nowhere") })).rejects.toMatchObject({
      code: "PASSPHRASE_FILE_UNREADABLE",
    });
  });

  it("is not taken from the environment when a file that was named is missing or empty", async () => {
    const environment = { HAWSER_CA_PASSPHRASE: "x", HAWSER_PASSPHRASE: "x" };
    for (const option of ["general", "specific"]) {
      await expect(read(passphraseSources("ca", { [option]: join(room, "nowhere") }), environment)).rejects.toMatchObject({
        code: "PASSPHRASE_FILE_UNREADABLE",
      });
      await expect(read(passphraseSources("ca", { [option]: file("empty", "") }), environment)).rejects.toMatchObject({
        code: "PASSPHRASE_REQUIRED",
      });
    }
  });

  it("is required: none, or an empty one, is an error that says how to give one", async () => {
    await expect(read(passphraseSources("ca", {}))).rejects.toMatchObject({
      code: "PASSPHRASE_REQUIRED",
      nextStep: expect.stringContaining("HAWSER_PASSPHRASE") as string,
    });
    await expect(read(passphraseSources("ca", {}), { HAWSER_PASSPHRASE: "" })).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED" });
    await expect(read([{ file: file("empty", "\n") }])).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED" });
    await expect(read([], {}, new Terminal("\r"))).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED" });
  });

  it("may be blank for what is there, never for what is new", async () => {
    for (const blank of [" ", "\t \u00a0", "\0\0", "\u200b"]) {
      const sources = [{ environment: "HAWSER_PASSPHRASE" }];
      expect(await read(sources, { HAWSER_PASSPHRASE: blank })).toBe(blank);
      await expect(read(sources, { HAWSER_PASSPHRASE: blank }, undefined, true)).rejects.toMatchObject({
        code: "PASSPHRASE_REQUIRED",
        message: "HAWSER_PASSPHRASE is blank",
      });
    }
    await expect(read([{ file: file("blank", "  \n") }], {}, undefined, true)).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED" });
    await expect(read([], {}, new Terminal("  \r"), true)).rejects.toMatchObject({ code: "PASSPHRASE_REQUIRED" });
    expect(await read([{ file: file("short", " x\n") }], {}, undefined, true)).toBe(" x");
  });

  it("is not taken from a file that every user may read", async () => {
    const path = file("exposed", "secret words", 0o644);
    await expect(read([{ file: path }])).rejects.toMatchObject({ code: "PASSPHRASE_FILE_EXPOSED", nextStep: `Run: chmod 600 ${path}` });
    await expect(read([{ file: path }])).rejects.not.toThrow("secret");
    expect(await read([{ file: file("group", "secret words", 0o640) }])).toBe("secret words");
  });

  it("is the first line of its file, however long the file is", async () => {
    expect(await read([{ file: file("two", "one\r\ntwo\n") }])).toBe("one");
    expect(await read([{ file: file("long", `one\n${"x".repeat(1_000_000)}`) }])).toBe("one");
    const longest = "温".repeat(4096);
    expect(await read([{ file: file("longest", `${longest}\n`) }])).toBe(longest);
    await expect(read([{ file: file("longer", `${longest}x\n`) }])).rejects.toMatchObject({ code: "PASSPHRASE_FILE_UNREADABLE" });
    await expect(read([{ file: file("endless", "x".repeat(1_000_000)) }])).rejects.toMatchObject({ code: "PASSPHRASE_FILE_UNREADABLE" });
  });

  it("is not guessed at when its file is missing, starts with a byte order mark or is a key's", async () => {
    await expect(read([{ file: join(room, "nowhere") }])).rejects.toMatchObject({ code: "PASSPHRASE_FILE_UNREADABLE" });
    const marked = {
      code: "PASSPHRASE_FILE_UNREADABLE",
      message: expect.stringContaining("byte order mark") as string,
      nextStep: "Save the file as UTF-8 without a BOM.",
    };
    await expect(read([{ file: file("marked", "\ufeffsecret words\n") }])).rejects.toMatchObject(marked);
    await expect(read([{ file: file("key", "-----BEGIN PRIVATE KEY-----\nMC4C\n") }])).rejects.toMatchObject({
      message: expect.stringContaining("PEM") as string,
    });
  });

  it("is not taken from a directory or a device, whatever its mode", async () => {
    for (const path of [room, "/tmp", "/dev/zero", "/dev/null"]) {
      await expect(read([{ file: path }])).rejects.toMatchObject({
        code: "PASSPHRASE_FILE_UNREADABLE",
        message: `cannot read a passphrase from ${path}: it is not a regular file`,
      });
    }
  });

  it("may come through a pipe, as a shell's <(command) is one", async () => {
    const path = join(room, "pipe");
    execFileSync("mkfifo", ["-m", "600", path]);
    spawn("sh", ["-c", 'echo "through the pipe" > "$0"', path], { stdio: "ignore" });
    expect(await read([{ file: path }])).toBe("through the pipe");
  });

  it("is foreseen where the same source gives it without asking anybody or emptying a pipe, and without an error", async () => {
    const named = file("foreseen", "from the file\n");
    const pipe = join(room, "unread-pipe");
    execFileSync("mkfifo", ["-m", "600", pipe]);
    const all = { HAWSER_CA_PASSPHRASE: "for the CA", HAWSER_PASSPHRASE_FILE: named };
    for (const sources of [passphraseSources("ca", { general: named }), passphraseSources("ca", {}), passphraseSources("vault", {})])
      expect(foreseenPassphrase(sources, all)).toBe(await read(sources, all));
    for (const path of [pipe, room, join(room, "nowhere"), file("open-to-all", "x\n", 0o644)])
      expect(foreseenPassphrase(passphraseSources("ca", { general: path }), all)).toBeUndefined();
    expect(foreseenPassphrase(passphraseSources("ca", {}), {})).toBeUndefined();
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

  it("is not shown when a stop was asked for before, or is about to be told of", async () => {
    const terminal = new Terminal();
    const surroundings = { environment: {}, input: terminal, output: terminal.output };
    const before = new Stop();
    before.request();
    await expect(readPassphrase({ sources: [], purpose: "it", isNew: false }, { ...surroundings, stop: before })).rejects.toMatchObject({
      code: "INTERRUPTED",
    });
    const pending = new Stop();
    setImmediate(() => pending.request());
    await expect(readPassphrase({ sources: [], purpose: "it", isNew: false }, { ...surroundings, stop: pending })).rejects.toMatchObject({
      code: "INTERRUPTED",
    });
    expect([terminal.screen, terminal.raw]).toEqual(["", false]);
  });

  it("gives up when a stop is asked for, at the second question too, and leaves the terminal as it was", async () => {
    for (const answers of [[""], ["same\r", "sa"]]) {
      const terminal = new Terminal(...answers);
      const stop = new Stop();
      const asking = readPassphrase(
        { sources: [], purpose: "it", isNew: true },
        { environment: {}, input: terminal, output: terminal.output, stop },
      );
      terminal.on("data", () => {
        if (terminal.questions === answers.length) stop.request();
      });
      await expect(asking).rejects.toMatchObject({ code: "INTERRUPTED" });
      expect([terminal.raw, terminal.listenerCount("data"), terminal.screen.endsWith("(paused)\n")]).toEqual([false, 1, true]);
    }
  });

  it("takes no harm from a stop after the answer", async () => {
    const terminal = new Terminal("typed\r");
    const stop = new Stop();
    expect(
      await readPassphrase(
        { sources: [], purpose: "it", isNew: false },
        { environment: {}, input: terminal, output: terminal.output, stop },
      ),
    ).toBe("typed");
    const { screen } = terminal;
    stop.request();
    await stop.asked;
    await Promise.resolve();
    expect(terminal.screen).toBe(screen);
  });
});
