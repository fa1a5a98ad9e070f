/** What a station is told: ids, batches, places, scans; and what it tells: classes of failures, rows for the order system. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { HawserError } from "../../../sdk/errors.js";
import { Scene } from "../../../test/support/host-tools/scene.js";
import { readPageTexts } from "../page/page-texts.js";
import { DeviceRefusal } from "../station-link.js";
import { readBatch, readColumns } from "./batch-file.js";
import { failureOf } from "./board-failures.js";
import { localIssuer } from "./board-issuer.js";
import { challengeOnly } from "./connection-proof.js";
import { FactoryStation } from "./factory-station.js";
import { idsByBatch, idsByList, idsByPattern } from "./id-source.js";
import { Ledger } from "./ledger.js";
import { ReportQueue } from "./report-queue.js";
import { readScan } from "./scans.js";
import { macOfPort, readHeadPlaces } from "./serial-places.js";

const scene = new Scene();
afterEach(() => scene.clean());

const code = (work: () => unknown): string => {
  try {
    work();
    return "";
  } catch (error) {
    return error instanceof HawserError ? error.code : String(error);
  }
};

describe("ids", () => {
  it("come from a counter, a list, or rows, each once", () => {
    const taken = new Set<string>(["m-001"]);
    const take = (id: string): string => (taken.add(id), id);
    const counter = idsByPattern("m-{n:3}");
    expect([1, 2].map(() => take(counter.next(undefined, (id) => taken.has(id)).id))).toEqual(["m-002", "m-003"]);
    const rows = idsByBatch([{ id: "a" }, { id: "b", mac: "0200000000aa" }, { id: "c" }]);
    expect(["0200000000aa", "0200000000bb", undefined].map((mac) => take(rows.next(mac, (id) => taken.has(id)).id))).toEqual([
      "b",
      "a",
      "c",
    ]);
    expect(code(() => rows.next(undefined, (id) => taken.has(id)))).toBe("NO_IDS_LEFT");
    expect([() => idsByPattern("m"), () => idsByPattern("m/{n}"), () => idsByList(["a", "a"]), () => idsByList(["a b"])].map(code)).toEqual(
      Array(4).fill("INVALID_ID"),
    );
  });

  it("come from CSV as order systems write it, and a fault is named at its line", () => {
    const columns = readColumns('{"id":"Serial No","mac":"MAC","attributes":{"site":"Plant"}}');
    const text = '\ufeff"Serial No";MAC;Plant\r\nm-1;02:00:00:00:00:AA;"Nord; ""1"""\r\n\r\nm-2;;\r\n';
    expect(readBatch(text, columns)).toEqual([{ id: "m-1", mac: "0200000000aa", attributes: { site: 'Nord; "1"' } }, { id: "m-2" }]);
    expect(readBatch("id,role\nm-1,meter\n")).toEqual([{ id: "m-1", role: "meter" }]);
    for (const [bad, line] of [
      ["id\nm 1\n", 2],
      ["id,mac\nm-1,\nm-2,ff:ff:ff:ff:ff:ff\n", 3],
      ["id,mac\nm-1\n", 2],
      ['id\n"m-1\n', 2],
      ["name\nm-1\n", 1],
    ] as const) {
      expect(() => readBatch(bad)).toThrow(new RegExp(`^line ${line} of the batch`));
    }
    expect(
      [
        () => readColumns("{}"),
        () => readColumns("x"),
        () => readColumns('{"id":"a","attributes":{"x":1}}'),
        () => readBatch("id\n", { id: "nr" }),
      ].map(code),
    ).toEqual(Array(4).fill("BAD_BATCH"));
  });
});

describe("places and scans", () => {
  it("binds names to ports, each once, and reads the MAC address from a port's name", () => {
    expect(readHeadPlaces(["left=/dev/a", "/dev/b"])).toEqual([
      { name: "left", port: "/dev/a" },
      { name: "2", port: "/dev/b" },
    ]);
    for (const bad of [["1=/dev/a", "1=/dev/b"], ["1=/dev/a", "2=/dev/a"], [""], ["="], ["1="], ["two words=/dev/a"]])
      expect([bad, code(() => readHeadPlaces(bad))]).toEqual([bad, "USAGE"]);
    expect(macOfPort("/dev/serial/by-id/usb-Espressif_USB_JTAG_serial_debug_unit_7C:DF:A1:00:00:01-if00")).toBe("7cdfa1000001");
    expect(macOfPort("/dev/ttyUSB0")).toBeUndefined();
  });

  it("says at once which head's port is not there, and keeps looking for it", async () => {
    const ledger = Ledger.open(scene.directory());
    const station = new FactoryStation({
      heads: readHeadPlaces(["left=/dev/serial/by-path/misspelt"]),
      baud: 115_200,
      ledger,
      issuer: localIssuer(await scene.ca()),
      ids: idsByPattern("m-{n}"),
      proof: challengeOnly,
      order: { operator: "alice", order: "4711", product: "Meter", role: "sensor", attributes: {} },
      needsFirstArticle: false,
      needsLabelScan: false,
      allowNoMac: false,
      connectWaitMs: 1_000,
    });
    const heads: unknown[] = [];
    station.onEvent((event) => void (event.type === "head" && heads.push(event.head)));
    station.open();
    expect(heads).toMatchObject([{ name: "left", port: "/dev/serial/by-path/misspelt", state: "no-port" }]);
    await station.close();
    ledger.close();
  });

  it("tells badges and commands from labels, whatever the scanner adds", () => {
    expect(
      ["OP: alice\r\n", "start", "RETRY:2", "reprint:m-1", "]d2\u001d01095\u001d21m-1", "x".repeat(9_999)].map((text) => readScan(text)),
    ).toEqual([
      { kind: "badge", name: "alice" },
      { kind: "start" },
      { kind: "retry", head: "2" },
      { kind: "reprint", id: "m-1" },
      { kind: "label", text: "]d2\u001d01095\u001d21m-1" },
      { kind: "label", text: "x".repeat(2_048) },
    ]);
    expect([() => readPageTexts("[1]"), () => readPageTexts('{"nonsense":"x"}'), () => readPageTexts('{"title":1}')].map(code)).toEqual(
      Array(3).fill("BAD_CONFIG"),
    );
  });
});

describe("failures", () => {
  it("tells this machine's disk from a board's flash, and what is worth another attempt from what is not", () => {
    const of = (error: unknown): string => failureOf(error).class;
    expect(of(new HawserError("STORAGE_FULL", "here"))).toBe("temporary");
    expect(of(new DeviceRefusal("STORAGE_FULL", "there"))).toBe("permanent");
    expect(["LINE_LOST", "CA_BUSY", "DEVICE_SILENT", "BOARD_NOT_SEEN"].map((one) => of(new HawserError(one as "LINE_LOST", "")))).toEqual(
      Array(4).fill("temporary"),
    );
    expect(
      ["BAD_PROOF", "WRONG_FIRMWARE", "DUPLICATE_KEY", "READ_BACK_FAILED"].map((one) => of(new HawserError(one as "BAD_PROOF", ""))),
    ).toEqual(Array(4).fill("permanent"));
    expect(
      ["NO_IDS_LEFT", "NO_MAC", "PRINTER_FAILED"].map((one) => of(new HawserError(one as "NO_MAC", ""))).concat(of(new Error("?"))),
    ).toEqual(Array(4).fill("operator"));
    expect(failureOf(new Error("?")).next).not.toBe("");
  });
});

describe("rows for the order system", () => {
  it("wait in the ledger while it is away, and are sent once each when it is back", async () => {
    const ledger = Ledger.open(scene.directory());
    for (const id of ["m-1", "m-2"]) {
      ledger.append({ event: "reserved", id, head: "1", order: "4711", role: "sensor" });
      ledger.append({ event: "step", id, step: "passed", phase: "observed" });
    }
    const got: string[] = [];
    const answers = [503, 409, 200];
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (text: Buffer) => (body += text.toString()));
      request.on("end", () => {
        got.push((JSON.parse(body) as { id: string }).id);
        response.statusCode = answers.shift() ?? 200;
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const troubles: string[] = [];
    const queue = new ReportQueue(ledger, `http://127.0.0.1:${(server.address() as AddressInfo).port}/rows`, (message) =>
      troubles.push(message),
    );
    queue.start();
    await expect.poll(() => [...ledger.boards()].every(({ isReported }) => isReported), { timeout: 10_000 }).toBe(true);
    await queue.stop();
    server.close();
    expect([got, troubles]).toEqual([["m-1", "m-1", "m-2"], [expect.stringContaining("answered 503") as string]]);
    expect(() => new ReportQueue(ledger, "ftp://x", () => undefined)).toThrow(/invalid URL/);
    ledger.close();
  });
});
