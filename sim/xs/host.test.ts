import { createHash } from "node:crypto";
import { lookup } from "node:dns/promises";
import { readFileSync, readdirSync } from "node:fs";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildHost } from "./host-build.js";
import { XS_EXIT } from "./xs-run.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { BITS } from "../../test/support/xs/pointer-sizes.js";

const BUILD_MS = 300_000;

describe.each(BITS)("the XS host at %i bits", (bits) => {
  const programs = new ProgramFolder();
  beforeAll(async () => {
    await buildHost({ bits });
  }, BUILD_MS);
  afterAll(() => programs.close());

  it.each(["plain", "builtins", "code"] as const)("runs modules, promise jobs and timers in order, with %s in ROM", async (inRom) => {
    programs.write("other.mjs", "export let count = 1; export function add() { count++; return count; }");
    const source = `
      import { add, count } from "./other.mjs";
      print(["module", add(), count]);
      Promise.resolve().then(() => print("job"));
      native("xs_timer_set")(30, () => print("timer 30"));
      native("xs_timer_set")(10, () => { print("timer 10"); Promise.resolve().then(() => print("job of timer 10")); });
      const never = native("xs_timer_set")(20, () => print("cancelled timer"));
      native("xs_timer_clear")(never);
      await 0;
      print("after await");`;
    const { code, printed } = await programs.run(source, { bits, inRom });
    expect(printed).toEqual([["module", 2, 2], "job", "after await", "timer 10", "job of timer 10", "timer 30"]);
    expect(code).toBe(0);
  });

  it("has slots as large as on the ESP32 only at 32 bits, and an empty heap that leaves room when built-ins are in ROM", async () => {
    const { printed } = await programs.run(`native("xs_collect_garbage")(); print(native("xs_heap")());`, { bits, inRom: "code" });
    const [heap] = printed as { slotBytes: number; slotsUsed: number; chunkBytesUsed: number }[];
    expect(heap?.slotBytes).toBe(bits === 32 ? 16 : 32);
    expect(heap!.slotsUsed).toBeLessThan(300);
    expect(heap!.chunkBytesUsed).toBeLessThan(2_000);
  });

  it("counts byte codes the same, whatever the heap", async () => {
    const source = `const start = native("xs_meter")(); let sum = 0; for (let i = 0; i < 1000; i++) sum += i; print(native("xs_meter")() - start);`;
    const growing = await programs.run(source, { bits, inRom: "code" });
    const fixed = await programs.run(source, { bits, inRom: "code", heap: { chunkBytes: 20_000, slotCount: 1_000 } });
    expect(fixed.printed).toEqual(growing.printed);
    expect(growing.printed[0]).toBe(METER_OF_LOOP);
  });

  it("freezes the built-ins, as they are in a device's flash", async () => {
    const source = `
      const attempt = (work) => { try { work(); return "done"; } catch (error) { return error.constructor.name; } };
      print(attempt(() => { class Wrong extends Error { constructor() { super("x"); this.name = "Wrong"; } } new Wrong(); }));
      print(attempt(() => { class Right extends Error { name = "Right"; } new Right("x"); }));
      print(attempt(() => { Array.prototype.mine = 1; }));`;
    const { printed } = await programs.run(source, { bits });
    expect(printed).toEqual(["TypeError", "done", "TypeError"]);
  });

  it.each([
    ["an exception in a timer", `native("xs_timer_set")(0, () => { throw new Error("boom"); });`, XS_EXIT.uncaughtException, "boom"],
    ["a module that throws", `throw new RangeError("at once");`, XS_EXIT.uncaughtException, "at once"],
    [
      "a rejection nobody handles",
      `Promise.reject(new Error("lost")); native("xs_timer_set")(1000, () => 0);`,
      XS_EXIT.unhandledRejection,
      "lost",
    ],
    ["recursion without end", `function down() { return down() + 1; } down();`, XS_EXIT.stackOverflow, "stack overflow"],
    ["a syntax error", `let 1 = 2;`, XS_EXIT.uncaughtException, "SyntaxError"],
    ["a module that is not there", `import "./nowhere.mjs";`, XS_EXIT.uncaughtException, "nowhere"],
  ])("ends with a code of its own and a message on %s", async (_, source, exitCode, message) => {
    const { code, errors } = await programs.run(source, { bits });
    expect(errors).toContain(message);
    expect(code).toBe(exitCode);
  });

  it("has file and line in stacks of modules that it loads as they run, of errors that the engine throws too", async () => {
    const source = `const throws = () => {
        null.length;
      };
      class Made { constructor() { this.stack = new Error("made").stack; } }
      native("xs_timer_set")(0, async () => {
        await undefined;
        print(new Made().stack);
        try {
          throws();
        } catch (error) { print(error.stack); }
      });`;
    const { printed } = await programs.run(source, { bits });
    // The prelude is a line.
    const frames = (stack: unknown): string[] =>
      String(stack)
        .split("\n")
        .filter((line) => line.includes("main.mjs"));
    expect(printed.map((stack) => frames(stack).map((frame) => frame.replace(/\(.*main/, "(main")))).toEqual([
      [" at Made (main.mjs:5)", " at (main.mjs:8)"],
      [" at throws (main.mjs:3)", " at (main.mjs:10)"],
    ]);
  });

  it("tells a program that asks for it what holds the engine, while it does and when it is over", async () => {
    const source = `const busy = (turns) => {
        let n = 0;
        while (++n < turns);
      };
      let isTold = false;
      native("xs_on_held")(100, (tookMs) => {
        isTold = true;
        print(tookMs === undefined ? new Error("held").stack : tookMs);
      });
      native("xs_timer_set")(0, () => busy(10));
      native("xs_timer_set")(1, () => { while (!isTold) busy(100_000); });
      native("xs_timer_set")(2, () => print("over"));`;
    const { printed } = await programs.run(source, { bits });
    expect(printed).toEqual([expect.stringMatching(/ at busy \(.*main\.mjs:[34]\)\n at \(.*main\.mjs:12\)/), expect.any(Number), "over"]);
    expect(printed[1]).toBeGreaterThan(100);
  });

  it("tells a program that asks for them of rejections nobody has handled, once no job is left, and goes on", async () => {
    const source = `
      native("xs_on_rejection")((reason) => { throw new Error("replaced"); });
      native("xs_on_rejection")((reason) => { print(reason.message); if (reason.message === "first") Promise.reject(new Error("from the handler")); });
      Promise.reject(new Error("first"));
      const late = Promise.reject(new Error("handled in time"));
      Promise.resolve().then(() => late.catch(() => print("caught")));
      (async () => { await undefined; throw new RangeError("second"); })();
      native("xs_timer_set")(0, () => {
        for (let n = 0; n < 20000; n++) ({ garbage: [n] });
        Promise.reject(new Error("third"));
      });
      native("xs_timer_set")(1, () => print("still here"));`;
    const { code, printed, errors } = await programs.run(source, { bits });
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(printed).toEqual(["caught", "first", "second", "from the handler", "third", "still here"]);
  });

  it.each([
    ["slots", `const all = []; for (;;) all.push({ a: 1 });`],
    ["chunks", `let text = "x"; for (;;) text += text;`],
  ])("ends when a fixed heap of %s is full, and not before", async (_, source) => {
    const heap = { chunkBytes: 32_768, slotCount: 2_048 };
    const full = await programs.run(source, { bits, inRom: "code", heap });
    expect(full.code).toBe(XS_EXIT.heapFull);
    const garbage = await programs.run(`for (let i = 0; i < 20000; i++) [{ a: i }, "x".repeat(100)]; print("lived");`, {
      bits,
      inRom: "code",
      heap,
    });
    expect(garbage).toMatchObject({ code: 0, printed: ["lived"] });
  });

  it("keeps preloaded modules out of the heap, their state as it was left, their maps read-only", async () => {
    const library = programs.write(
      "library.mjs",
      `export class Thing { #secret = 7; reveal() { return this.#secret + count; } }
       let count = 1;
       export function grow() { return ++count; }
       export const map = new Map([["a", "ä"]]);
       export const list = ["x".repeat(10), 2n ** 70n];
       export const pattern = /b+/;
       export const object = { text: "kept" };`,
    );
    const source = `
      import { Thing, grow, list, map, object, pattern } from "library";
      native("xs_collect_garbage")();
      print([grow(), new Thing().reveal(), map.get("a"), list[0], String(list[1]), "abbb".match(pattern)[0]]);
      object.text += " and changed"; list.push(3);
      for (let i = 0; i < 50; i++) { native("xs_collect_garbage")(); object["k" + i] = list.concat(object.text).join(); }
      print([object.text, object.k49, list.length]);
      try { map.set("b", 1); } catch (error) { print(error.constructor.name); }`;
    const { printed, code, errors } = await programs.run(source, { bits, inRom: "code", modules: { library }, preload: ["library"] });
    const big = String(2n ** 70n);
    const joined = `xxxxxxxxxx,${big},3,kept and changed`;
    expect({ printed, code, errors }).toEqual({
      printed: [[2, 9, "ä", "xxxxxxxxxx", big, "bbb"], ["kept and changed", joined, 3], "TypeError"],
      code: 0,
      errors: "",
    });
  });

  it("hands over arguments, lines of input and signals, and ends as it is told", async () => {
    const running = await programs.start({
      bits,
      args: ["one", "zwei ü 🚢"],
      program: programs.write(
        "main.mjs",
        `print([...native("xs_arguments")(), "\\u0000 \\ud800"].map((text) => text));
         native("xs_on_signal")((name) => { print(name); if (name === "SIGTERM") native("xs_exit")(7); });
         native("xs_on_line")((line) => print(line === undefined ? "end" : "line " + line.length + " " + line));
         native("xs_timer_set")(60000, () => print("too late"));`,
      ),
    });
    const line = JSON.stringify({ hello: "ü 🚢" });
    running.send({ hello: "ü 🚢" });
    await running.message((message) => String(message) === `line ${line.length} ${line}`);
    running.kill("SIGUSR1");
    await running.message((message) => String(message) === "SIGUSR1");
    running.endInput();
    await running.message((message) => String(message) === "end");
    running.kill("SIGTERM");
    expect(await running.exited).toMatchObject({ code: 7, errors: "" });
    expect(running.messages[0]).toEqual(["one", "zwei ü 🚢", "\u0000 \ud800"]);
  });

  it("draws random bytes of any length", async () => {
    const { printed } = await programs.run(
      `const draw = (n) => Array.from(new Uint8Array(native("xs_random")(n)));
       print([draw(0).length, draw(1000).length, new Set(draw(1000)).size > 200, draw(16).join() !== draw(16).join()]);`,
      { bits },
    );
    expect(printed).toEqual([[0, 1000, true, true]]);
  });
});

/** Byte codes of the loop above; the engine's own figure, the same on every machine. */
const METER_OF_LOOP = 14_029;

describe("TCP of the XS host", () => {
  const programs = new ProgramFolder();
  let server: Server;
  let accepted: (socket: Socket) => void = () => undefined;
  let port: number;

  beforeAll(async () => {
    await buildHost({ bits: 64 });
    server = createServer((socket) => accepted(socket));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  }, BUILD_MS);
  afterAll(async () => {
    await programs.close();
    await new Promise((resolve) => server.close(resolve));
  });

  it("echoes a quarter of a megabyte, every byte in its place", async () => {
    accepted = (socket) => socket.pipe(socket);
    const source = `
      const size = 1 << 18, sent = new Uint8Array(size).map((_, i) => i * 31 >> 3);
      let offset = 0, got = 0, wrong = 0;
      const push = () => { offset += native("xs_tcp_write")(id, sent.subarray(offset)); };
      const id = native("xs_tcp_open")("localhost", ${port}, (event, value) => {
        if (event === 0 || event === 2) push();
        else if (event === 1) {
          for (const byte of new Uint8Array(value)) if (byte !== sent[got++]) wrong++;
          if (got === size) { print({ got, wrong }); native("xs_tcp_close")(id); }
        } else print({ ended: String(value) });
      });`;
    expect(await programs.run(source)).toMatchObject({ code: 0, printed: [{ got: 1 << 18, wrong: 0 }] });
  });

  it("loses nothing when the peer reads late and the system takes a part of a write", async () => {
    const pieceBytes = 65_521;
    const pieces = 256;
    const hash = createHash("sha256");
    let resume: () => void = () => undefined;
    const read = new Promise<void>((resolve) => {
      accepted = (socket) => {
        socket.pause();
        socket.on("data", (bytes) => hash.update(bytes)).on("end", resolve);
        resume = () => socket.resume();
      };
    });
    const source = `
      const piece = new Uint8Array(${pieceBytes}).map((_, i) => i * 7);
      let left = ${pieces}, offset = 0, stuffed = false;
      const push = () => {
        while (left > 0) {
          offset += native("xs_tcp_write")(id, piece.subarray(offset));
          if (offset < piece.length) { if (!stuffed) print("stuffed"); stuffed = true; return; }
          offset = 0; left--;
        }
        native("xs_tcp_close")(id);
      };
      const id = native("xs_tcp_open")("localhost", ${port}, (event) => { if (event === 0 || event === 2) push(); });`;
    const running = await programs.start({ program: programs.write("late.mjs", source) });
    await running.message((message) => String(message) === "stuffed");
    resume();
    await read;
    const expected = createHash("sha256");
    const piece = Uint8Array.from({ length: pieceBytes }, (_, i) => i * 7);
    for (let i = 0; i < pieces; i++) expected.update(piece);
    expect(hash.digest("hex")).toBe(expected.digest("hex"));
    expect(await running.exited).toMatchObject({ code: 0, errors: "" });
  });

  it("reports the peer's close after its last bytes, a refused port and a name that does not exist", async () => {
    accepted = (socket) => socket.end("last words");
    const closedPort = await unusedPort();
    const source = `
      const open = (host, port) => native("xs_tcp_open")(host, port, (event, value) =>
        print([host, event, event === 1 ? String.fromCharCode(...new Uint8Array(value)) : String(value)]));
      open("127.0.0.1", ${port}); open("localhost", ${closedPort}); open("name.invalid", 1);
      print("opening reports nothing");`;
    const { printed } = await programs.run(source);
    expect(printed[0]).toBe("opening reports nothing");
    expect(printed.filter((line) => (line as string[])[0] === "127.0.0.1")).toEqual([
      ["127.0.0.1", 0, "undefined"],
      ["127.0.0.1", 1, "last words"],
      ["127.0.0.1", 3, "undefined"],
    ]);
    expect(printed).toContainEqual(["localhost", 3, "ECONNREFUSED"]);
    expect(printed).toContainEqual(["name.invalid", 3, "ENOTFOUND"]);
  });

  it("reads nothing while paused, so that the peer comes to a halt, and then all of it and the end", async () => {
    const pieces = 256;
    const piece = Buffer.alloc(65_536, "a");
    let written = 0;
    accepted = (socket) => {
      const push = (): void => {
        while (written < pieces) {
          written++;
          if (!socket.write(piece)) return void socket.once("drain", push);
        }
        socket.end();
      };
      push();
      socket.resume();
    };
    const source = `
      let got = 0, paused = false, during = 0;
      const id = native("xs_tcp_open")("127.0.0.1", ${port}, (event, value) => {
        if (event === 0) {
          native("xs_tcp_pause")(id, paused = true);
          native("xs_tcp_write")(id, new Uint8Array(1));
          native("xs_timer_set")(300, () => { print({ during }); native("xs_tcp_pause")(id, paused = false); });
        } else if (paused) during++;
        else if (event === 1) { if (got === 0) { native("xs_tcp_pause")(id, true); native("xs_timer_set")(1, () => native("xs_tcp_pause")(id, false)); } got += value.byteLength; }
        else if (event === 3) print({ got, ended: String(value) });
      });`;
    const running = await programs.start({ program: programs.write("paused.mjs", source) });
    expect(await running.message(() => true)).toEqual({ during: 0 });
    expect(written).toBeLessThan(pieces);
    expect(await running.message((message) => "got" in (message as object))).toEqual({ got: pieces * piece.length, ended: "undefined" });
    expect(await running.exited).toMatchObject({ code: 0, errors: "" });
  });

  it("goes through all addresses of a name, beginning with the one whose turn it is", async () => {
    const found = await lookup("localhost", { all: true, verbatim: true });
    const addresses = [...found.filter(({ family }) => family === 4), ...found.filter(({ family }) => family === 6)].map(
      ({ address }) => address,
    );
    const free = await unusedPort();
    const listening = await Promise.all(addresses.map((address) => listen(address, free)));
    const source = `
      const said = [];
      const open = (turn) => native("xs_tcp_open")("localhost", ${free}, (event, value) => {
        if (event === 1) said[turn] = String.fromCharCode(...new Uint8Array(value));
        if (event === 3) turn < 3 ? open(turn + 1) : print(said);
      }, turn);
      open(0);`;
    expect((await programs.run(source)).printed).toEqual([[0, 1, 2, 3].map((turn) => addresses[turn % addresses.length])]);
    for (const first of listening.slice(0, -1)) await first.close();
    expect((await programs.run(source)).printed).toEqual([[0, 1, 2, 3].map(() => addresses.at(-1))]);
    await listening.at(-1)?.close();
  });

  it("says nothing after close, also when it is closed in its own callback", async () => {
    accepted = (socket) => {
      socket.on("error", () => undefined);
      socket.write("a".repeat(100_000));
    };
    const source = `
      let calls = 0;
      const id = native("xs_tcp_open")("127.0.0.1", ${port}, (event) => { calls++; if (event === 1) { native("xs_tcp_close")(id); native("xs_tcp_close")(id); } });
      native("xs_timer_set")(200, () => print(calls));`;
    expect(await programs.run(source)).toMatchObject({ code: 0, printed: [2] });
  });
});

describe("records of the XS host", () => {
  const programs = new ProgramFolder();
  beforeAll(async () => {
    await buildHost({ bits: 64 });
  }, BUILD_MS);
  afterAll(() => programs.close());

  it("are put, read, listed and deleted, and live on", async () => {
    const storageFolder = programs.folder("records");
    const first = `
      const bytes = (...values) => Uint8Array.from(values);
      native("xs_storage_put")("a.b-c_1", bytes(1, 2, 3)); native("xs_storage_put")("empty", bytes()); native("xs_storage_put")("gone", bytes(1));
      native("xs_storage_put")("a.b-c_1", bytes(4)); native("xs_storage_delete")("gone"); native("xs_storage_delete")("never");`;
    expect(await programs.run(first, { storageFolder })).toMatchObject({ code: 0, errors: "" });
    const second = `
      const get = (key) => { const found = native("xs_storage_get")(key); return found && [...new Uint8Array(found)]; };
      print([get("a.b-c_1"), get("empty"), get("gone") ?? "absent", native("xs_storage_list")().sort()]);`;
    expect((await programs.run(second, { storageFolder })).printed).toEqual([[[4], [], "absent", ["a.b-c_1", "empty"]]]);
  });

  it.each(["", "0123456789abcdef", "../x", "A", "a/b"])("refuse the key %j", async (key) => {
    const source = `try { native("xs_storage_put")(${JSON.stringify(key)}, new Uint8Array(1)); print("put"); } catch (error) { print(error.message.slice(0, 6)); }`;
    expect((await programs.run(source, { storageFolder: programs.folder("refused") })).printed).toEqual(["EINVAL"]);
  });

  it("are whole after kill -9 in the middle of writing them", async () => {
    const storageFolder = programs.folder("killed");
    const source = `
      for (let round = 1; ; round++) {
        native("xs_storage_put")("counter", new Uint8Array(20000).fill(round & 255));
        if (round % 4 === 0) print(round);
      }`;
    const program = programs.write("main.mjs", source);
    for (let kill = 0; kill < 20; kill++) {
      const running = await programs.start({ program, storageFolder });
      // The kill comes at whatever moment the message does: each run is cut somewhere else.
      await running.message((message) => Number(message) >= 4 * (1 + (kill % 4)));
      running.kill();
      await running.exited;
      const record = readFileSync(join(storageFolder, "r-counter"));
      expect(record.length).toBe(20_000);
      expect(new Set(record).size).toBe(1);
    }
    expect(readdirSync(storageFolder).filter((name) => name.startsWith("r-"))).toEqual(["r-counter"]);
  });
});

/** A port nobody listens on: one that was just free. */
async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A server that says on which address it was met, and hangs up. */
async function listen(address: string, port: number): Promise<{ close: () => Promise<void> }> {
  const server = createServer((socket) => socket.on("error", () => undefined).end(address));
  await new Promise<void>((resolve) => server.listen({ host: address, port, ipv6Only: true }, resolve));
  return { close: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}
