import { beforeAll, describe, expect, it } from "vitest";
import { buildCli } from "../../../test/support/host-tools/test-cli.js";
import { Seat } from "../../../test/support/host-tools/terminal-seat.js";
import { directoryWithCa, ENV } from "../../../test/support/host-tools/test-fleet.js";
import { ENGLISH_TEXTS } from "../../station/page/page-texts.js";
import type { HeadView } from "../../station/factory/head-view.js";
import { viewLines } from "./terminal-view.js";

beforeAll(buildCli);

const COLUMNS = 90;
const ROWS = 20;

/** The latest whole picture, without its colours. */
function picture(screen: string): string[] {
  const ends = screen.lastIndexOf("\u001b[J");
  const begins = screen.lastIndexOf("\u001b[H", ends);
  return screen
    .slice(begins + 3, ends)
    .replaceAll(/\u001b\[[\d;]*[mK]/g, "")
    .replaceAll("\r", "")
    .split("\n");
}

describe("the station on a terminal", { timeout: 120_000 }, () => {
  it("shows a line a head, takes scans from the keyboard, and leaves the terminal as it was", async () => {
    const cwd = await directoryWithCa();
    const station = ["station", "run", "--dir", "ca", "--operator", "alice", "--order", "4711", "--ids", "m-{n}"];
    const simulated = ["--proof", "challenge", "--label-scan", "--simulated", "2", "--boards", "2"];
    const seat = await Seat.at([...station, ...simulated], cwd, ENV, { columns: COLUMNS, rows: ROWS });
    const headLine = (name: string): string => picture(seat.screen).find((line) => line.startsWith(`${name} `)) ?? "";
    const until = async (isSo: () => boolean): Promise<void> => {
      while (!isSo()) await seat.shown();
    };
    await until(() => /LABEL +m-\d .*scan it/.test(headLine("1")) && /LABEL +m-\d .*scan it/.test(headLine("2")));
    expect(picture(seat.screen)[0]).toBe("Factory station: Operator alice, Order 4711, Product none, Role sensor, Firmware simulat…");
    for (const line of picture(seat.screen)) expect(line.length).toBeLessThanOrEqual(COLUMNS);
    expect(picture(seat.screen).length).toBeLessThanOrEqual(ROWS);

    // Scanners may end in Tab; a slip is taken back.
    seat.type("m-9\t");
    await until(() => picture(seat.screen).some((line) => line.startsWith("This label belongs to none of the boards that wait: m-")));
    seat.type("m-1x");
    await until(() => picture(seat.screen).at(-1) === "Scan> m-1x");
    seat.type("\u007f\r");
    await until(() => picture(seat.screen).includes("The label matches m-1."));
    await until(() => picture(seat.screen).some((line) => line.startsWith("Passed 1, Failed 0")));
    seat.type("m-2\r");
    expect(await seat.ended).toBe(0);
    const [, after = ""] = seat.screen.split("\u001b[?1049l");
    expect(after).toMatch(/Passed 2, Failed 0[^]*done[^]*2 passed, 0 failed/);
    expect(seat.isAsBefore).toBe(true);
  });

  it("ends in good order at Ctrl-C, and prints a line an event where it cannot draw or shall not", async () => {
    const cwd = await directoryWithCa();
    const args = ["station", "run", "--dir", "ca", "--operator", "alice", "--ids", "m-{n}", "--proof", "challenge", "--simulated", "1"];
    const drawn = await Seat.at([...args, "--boards", "2"], cwd, ENV);
    await drawn.shows(/PASS/);
    drawn.type("\u0003");
    expect(await drawn.ended).toBe(0);
    expect(drawn.isAsBefore).toBe(true);
    const plain = await Seat.at([...args, "--boards", "1", "--view", "events", "--station", "other", "--seed", "2"], cwd, ENV);
    expect(await plain.ended).toBe(0);
    expect(plain.screen).toMatch(/head .*head 1 {2}passed {2}m-\d/);
    expect(plain.screen).not.toContain("\u001b[?1049h");
  });

  it("has a word for each state, and for a failure what to do", () => {
    const failure = { class: "temporary", code: "LINE_LOST", message: "the line was lost", next: "Plug the board in again." } as const;
    const head = (state: HeadView["state"], more: Partial<HeadView> = {}): HeadView => ({
      name: "1",
      port: "/dev/x",
      state,
      sinceMs: 0,
      retries: 0,
      ...more,
    });
    const heads = [
      head("no-port"),
      head("empty"),
      head("waiting", { waitsFor: "shift" }),
      head("working", { id: "m-1", step: "key", retries: 1 }),
      head("label"),
      head("approval"),
      head("passed", { id: "m-1", seconds: 2.1 }),
      head("failed", { failure }),
      head("held"),
    ];
    const order = { operator: "alice", order: "1", product: "p", role: "sensor", attributes: {}, target: 9 };
    const totals = { passed: 3, failed: 1, firstPassYield: 0.75, boardsPerHour: 60, queued: 2, caDaysLeft: 30, isClockPlausible: false };
    const lines = viewLines({ isRunning: true, order, heads, totals, unlisted: [] }, ENGLISH_TEXTS, 5_000).map(({ text }) => text);
    expect(lines[1]).toBe("Passed 3 / 9, Failed 1, First-pass yield 75 %, Boards an hour 60, Rows to send 2, CA days left 30, Clock WRONG");
    const shown = lines.slice(3, -1);
    expect(new Set(shown.map((line) => line.slice(6, 13))).size).toBe(heads.length);
    expect(shown[3]).toMatch(/WORKING +m-1 +5 s +key, attempt 2$/);
    expect(shown[6]).toMatch(/PASS +m-1 +2\.1 s/);
    expect(shown[7]).toMatch(/FAIL .*the line was lost\. Plug the board in again\.$/);
  });
});
