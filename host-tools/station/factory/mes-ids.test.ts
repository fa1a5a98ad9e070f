/** Ids from a MES: a real server over TLS and plain, good, slow, away and hostile; and a station that is killed while it asks. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingHttpHeaders, RequestListener, Server, ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { errorCode } from "../../../sdk/errors.js";
import { Jig } from "../../../sim/boards/jig.js";
import { buildCli, hawser, RunningCli } from "../../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";
import { EXPIRED, TestCa } from "../../../test/support/node/test-pki.js";
import { judged, passedIn } from "../../../test/support/station/drilled-station.js";
import { readLedger } from "./ledger.js";
import { idsByMes } from "./mes-ids.js";
import type { MesOptions } from "./mes-ids.js";

beforeAll(buildCli);

const MAC = "0200000000aa";
const ORDER = { order: "47/11", product: "Meter", role: "sensor" };
const UNSTOPPED = new AbortController().signal;

interface Question {
  readonly mac: string;
  readonly headers: IncomingHttpHeaders;
  readonly fields: unknown;
}

async function serve(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close().closeAllConnections());
  return (server.address() as AddressInfo).port;
}

/** Keeps the questions, and has each answered by `answer`. */
function mes(questions: Question[], answer: (question: Question, response: ServerResponse) => void): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const fields = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { mac: string };
      const question = { mac: fields.mac, headers: request.headers, fields };
      questions.push(question);
      answer(question, response);
    });
  };
}

const give = (response: ServerResponse, id: unknown, status = 200): unknown =>
  response.writeHead(status, { location: "http://127.0.0.1:1/" }).end(JSON.stringify({ id, role: "gateway" }));

/** The id for one board, or the code of what became of the question. */
async function idFor(options: Partial<MesOptions> & { url: string }, isTaken = (_id: string) => false): Promise<string> {
  const source = idsByMes({ ...ORDER, ...options });
  try {
    await source.ask?.(MAC, UNSTOPPED);
    return source.next(MAC, isTaken).id;
  } catch (error) {
    return errorCode(error);
  }
}

describe("a MES", () => {
  it("is asked by MAC address and with its token, over TLS that proves it, and gives an id and nothing else", async () => {
    const ca = await TestCa.create("Plant");
    const questions: Question[] = [];
    const { chainPem, keyPem } = await ca.server(["localhost"]);
    const port = await serve(
      createTlsServer(
        { cert: chainPem, key: keyPem },
        mes(questions, (_, response) => give(response, "m-1")),
      ),
    );
    const source = idsByMes({ ...ORDER, url: `https://localhost:${port}/ids?plant=1`, token: "secret", trustAnchorPem: ca.caPem });
    await source.ask?.(MAC, UNSTOPPED);
    expect(source.next(MAC, () => false)).toEqual({ id: "m-1" });
    expect(source.planOf("m-1")).toBeUndefined();
    expect(questions).toEqual([
      {
        mac: MAC,
        fields: { mac: MAC, ...ORDER },
        headers: expect.objectContaining({ authorization: "Bearer secret", "idempotency-key": `${MAC}-47%2F11` }) as object,
      },
    ]);
  });

  it("that cannot prove itself is told nothing", async () => {
    const [ca, other] = [await TestCa.create("Plant"), await TestCa.create("Stranger")];
    const questions: Question[] = [];
    for (const [trusted, hosts, validity] of [
      [other, ["localhost"], {}],
      [ca, ["elsewhere.example"], {}],
      [ca, ["localhost"], EXPIRED],
      [undefined, ["localhost"], {}],
    ] as const) {
      const { chainPem, keyPem } = await ca.server(hosts, validity);
      const port = await serve(
        createTlsServer(
          { cert: chainPem, key: keyPem },
          mes(questions, (_, response) => give(response, "m-1")),
        ),
      );
      const trust = trusted === undefined ? {} : { trustAnchorPem: trusted.caPem };
      expect(await idFor({ url: `https://localhost:${port}/`, token: "secret", ...trust })).toBe("ID_SOURCE_UNTRUSTED");
    }
    expect(questions).toEqual([]);
    for (const url of ["http://mes.example/", "https://user:word@mes.example/", "mes.example", "ftp://localhost/"])
      expect(() => idsByMes({ ...ORDER, url })).toThrow(expect.objectContaining({ code: "BAD_URL" }));
    for (const token of ["", "two words", "a\r\nhost: b"])
      expect(() => idsByMes({ ...ORDER, url: "http://localhost/", token })).toThrow(
        expect.objectContaining({ code: "BAD_CREDENTIALS_FILE" }),
      );
    expect(() => idsByMes({ ...ORDER, url: "https://localhost/", trustAnchorPem: "x" })).toThrow(
      expect.objectContaining({ code: "BAD_CERTIFICATE" }),
    );
  });

  it.each<[what: string, answer: (response: ServerResponse) => unknown, code: string]>([
    ["is busy", (response) => give(response, "m-1", 503), "ID_SOURCE_AWAY"],
    ["is asked too often", (response) => give(response, "m-1", 429), "ID_SOURCE_AWAY"],
    ["never ends its answer", (response) => response.writeHead(200).write('{"id":"m-1"'), "ID_SOURCE_AWAY"],
    ["ends the connection", (response) => response.destroy(), "ID_SOURCE_AWAY"],
    ["has no id", (response) => give(response, "m-1", 410), "NO_IDS_LEFT"],
    ["refuses the token", (response) => give(response, "m-1", 401), "ID_SOURCE_REFUSED"],
    ["is elsewhere", (response) => give(response, "m-1", 307), "ID_SOURCE_REFUSED"],
    ["gives no text", (response) => give(response, 7), "ID_SOURCE_WRONG"],
    ["gives a topic of many levels", (response) => give(response, "a/#"), "ID_SOURCE_WRONG"],
    ["gives an id that is taken", (response) => give(response, "taken"), "ID_SOURCE_WRONG"],
    ["gives no JSON", (response) => response.end("<html>"), "ID_SOURCE_WRONG"],
    ["gives far too much", (response) => response.end(`{"id":"m-1"}${" ".repeat(1 << 20)}`), "ID_SOURCE_WRONG"],
  ])("that %s gives nobody an id", async (what, answer, code) => {
    const port = await serve(createServer(mes([], (_, response) => void answer(response))));
    expect(
      await idFor(
        { url: `http://127.0.0.1:${port}/`, answerMs: what === "never ends its answer" ? 1_000 : 60_000 },
        (id) => id === "taken",
      ),
    ).toBe(code);
  });
});

describe("a station with a MES", { timeout: 240_000 }, () => {
  async function line(listener: RequestListener, boards: number): Promise<{ cwd: string; jig: Jig; start: () => RunningCli }> {
    const cwd = await directoryWithCa();
    const jig = new Jig({ directory: join(cwd, "jig"), heads: 2, boards, faults: [], seed: 3, firmware: "f1" });
    onTestFinished(() => jig.close());
    await jig.open();
    const port = await serve(createServer(listener));
    const heads = jig.places.flatMap(({ name, port: path }) => ["--head", `${name}=${path}`]);
    const ids = ["--ids-url", `http://127.0.0.1:${port}/ids`];
    const args = ["station", "run", "--dir", "ca", "--operator", "alice", "--order", "4711", "--proof", "challenge", ...ids, ...heads];
    return { cwd, jig, start: () => judged(new RunningCli(args, { cwd, env: ENV }), jig) };
  }

  it("gets one id a board, killed while it waits for one, and the MES away for a moment", async () => {
    const ids = new Map<string, string>();
    const questions: Question[] = [];
    let isHeld: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (isHeld = resolve));
    const { cwd, jig, start } = await line(
      mes(questions, ({ mac }, response) => {
        ids.set(mac, ids.get(mac) ?? `m-${ids.size + 1}`);
        // The first two are given out, but the station does not hear of it.
        if (questions.length <= 2) return questions.length === 2 ? isHeld() : undefined;
        if (questions.length === 3) return void response.writeHead(503).end();
        give(response, ids.get(mac));
      }),
      5,
    );
    const killed = start();
    await held;
    killed.signal("SIGKILL");
    await killed.ended;
    const running = start();
    await jig.emptied;
    running.signal("SIGINT");
    expect(await running.ended).toMatchObject({ code: 0 });
    expect(jig.results.map(({ verdict }) => verdict)).toEqual(Array(5).fill("passed"));
    const passed = passedIn(readLedger(join(cwd, "station")).lines);
    expect(passed.map(({ mac, id }) => [mac, id]).sort()).toEqual([...ids].sort());
    // The same board, the same key.
    expect(new Set(questions.map(({ headers }) => headers["idempotency-key"])).size).toBe(5);
  });

  it("gives no id twice to please a MES that repeats itself, or that names a device the CA has", async () => {
    const questions: Question[] = [];
    const { cwd, jig, start } = await line(
      mes(questions, (_, response) => give(response, questions.length === 1 ? "m-old" : "m-1")),
      3,
    );
    const old = await hawser(["provision", "--dir", "ca", "--id", "m-old", "--vault", "old.vault"], { cwd, env: ENV });
    expect(old).toMatchObject({ code: 0 });
    const running = start();
    const failed = await running.waitFor("head", ({ failure }) => (failure as { code?: string } | undefined)?.code === "ID_SOURCE_WRONG");
    expect(failed["failure"]).toMatchObject({ class: "operator", message: expect.stringMatching(/^the MES at 127\S+ gave /) as string });
    await jig.emptied;
    running.signal("SIGINT");
    await running.ended;
    expect(passedIn(readLedger(join(cwd, "station")).lines).map(({ id }) => id)).toEqual(["m-1"]);
  });

  it("is told at the start what cannot work", async () => {
    const cwd = await directoryWithCa();
    const run = async (...args: string[]): Promise<string> =>
      (await hawser(["station", "run", "--dir", "ca", "--operator", "alice", "--simulated", "1", ...args], { cwd, env: ENV })).stderr;
    expect(await run("--ids", "m-{n}", "--ids-url", "https://mes.example/")).toMatch(/error USAGE: one of --ids/);
    expect(await run("--ids", "m-{n}", "--ids-token-file", "token")).toMatch(/error USAGE: --ids-token-file/);
    expect(await run("--ids-url", "https://mes.example/", "--allow-no-mac")).toMatch(/error USAGE: --ids-url needs/);
  });
});
