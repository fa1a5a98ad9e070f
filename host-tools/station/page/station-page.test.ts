/** The operator's page in a real browser: a shift from the first scan to the end, by scanner and keyboard alone. */
import { request } from "node:http";
import { join } from "node:path";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Jig } from "../../../sim/boards/jig.js";
import { Scene } from "../../../test/support/host-tools/scene.js";
import { localIssuer } from "../factory/board-issuer.js";
import { challengeOnly } from "../factory/connection-proof.js";
import { FactoryStation } from "../factory/factory-station.js";
import type { HeadState, HeadView, StationEvent, StationView } from "../factory/head-view.js";
import { idsByPattern } from "../factory/id-source.js";
import { Ledger } from "../factory/ledger.js";
import { startPage } from "./page-server.js";
import type { RunningPage } from "./page-server.js";
import { ENGLISH_TEXTS, readPageTexts } from "./page-texts.js";

// What these name is run by the browser. The types of the DOM clash with Node's, so they are left open here.
/* eslint-disable @typescript-eslint/no-explicit-any -- see above */
declare const document: any;
declare const window: any;
declare const MutationObserver: any;
declare const getComputedStyle: (element: any) => any;
declare const innerWidth: number;
declare const innerHeight: number;
type HTMLElement = any;
/* eslint-enable @typescript-eslint/no-explicit-any */

let browser: Browser;
beforeAll(async () => {
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});
afterAll(() => browser.close());

const scene = new Scene();
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await scene.clean();
});

const ORDER = { operator: "alice", order: "4711", product: "Meter", role: "sensor", attributes: {}, firmware: "f1", target: 3 };

async function opened(url: string): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  closing.push(() => page.close());
  await page.goto(url);
  return page;
}

/** As a scanner types it, whatever has the focus. */
async function scan(page: Page, text: string, end: "Enter" | "Tab" = "Enter"): Promise<void> {
  await page.keyboard.type(text);
  await page.keyboard.press(end);
}

const wordOf = (page: Page, head: string, word: string): Promise<unknown> =>
  page.locator(`#head-${head} .word`, { hasText: word }).waitFor({ timeout: 20_000 });

describe("the operator's page", { timeout: 90_000 }, () => {
  it("carries a shift: start, first article, label, pass, fail, retry, reprint, the server killed and back", async () => {
    const ca = await scene.ca();
    const ledger = Ledger.open(join(scene.directory(), "station"));
    closing.push(() => ledger.close());
    // The second board has the wrong firmware.
    const jig = new Jig({
      directory: join(scene.directory(), "jig"),
      heads: 2,
      boards: 3,
      faults: ["wrong-firmware"],
      seed: 3,
      firmware: "f1",
    });
    closing.push(() => jig.close());
    await jig.open();
    const printed: string[] = [];
    const print = ({ id }: { id: string }, copy: number): Promise<void> => Promise.resolve(void printed.push(`${id} ${copy}`));
    const station = new FactoryStation({
      heads: jig.places,
      baud: 115_200,
      ledger,
      issuer: localIssuer(ca),
      ids: idsByPattern("m-{n}"),
      proof: challengeOnly,
      order: ORDER,
      needsFirstArticle: true,
      needsLabelScan: true,
      allowNoMac: false,
      connectWaitMs: 5_000,
      print,
    });
    closing.push(() => station.close());
    let server: RunningPage = await startPage({ station, port: 0, texts: ENGLISH_TEXTS });
    closing.push(() => server.close());
    const page = await opened(server.url);
    station.open();
    await wordOf(page, "1", "WAIT");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("scan");
    await page.evaluate(() => {
      const seen: [string, string, number][] = [];
      Object.assign(window, { seen });
      new MutationObserver((changes: readonly { target: unknown }[]) => {
        for (const { target } of changes) seen.push([(target as HTMLElement).id, (target as HTMLElement).className, Date.now()]);
      }).observe(document.getElementById("heads")!, { subtree: true, attributeFilter: ["class"] });
    });
    const states: [string, string, number][] = [];
    station.onEvent((event) => {
      if (event.type === "head") states.push([`head-${event.head.name}`, event.head.state, Date.now()]);
    });

    await scan(page, "START");
    // Both boards are good or not; one is the order's first, the other waits for it, and fails at once if its firmware is wrong.
    const first = await page.waitForFunction(
      () => [...document.querySelectorAll("article")].find((tile) => tile.className === "label")?.id,
      undefined,
      { timeout: 20_000 },
    );
    const head = String(await first.jsonValue()).replace("head-", "");
    expect(printed).toEqual(["m-1 1"]);
    await scan(page, "m-7", "Tab");
    await page.locator("output.refused", { hasText: "none of the boards that wait: m-1" }).waitFor();
    await scan(page, "https://example.com/21/m-1", "Tab");
    await wordOf(page, head, "CHECK");
    await scan(page, "OP:alice");
    await page.locator("output.refused", { hasText: "second person" }).waitFor();
    await scan(page, "APPROVE");
    await page.locator("output.refused", { hasText: "badge of a second person" }).waitFor();
    await scan(page, "OP:bob");
    await scan(page, "APPROVE");
    await wordOf(page, head, "PASS");
    await page.locator("#passed", { hasText: "1 / 3" }).waitFor();
    // Nobody is told of the boards here, so none waits for that.
    expect(await page.locator("#queued").isVisible()).toBe(false);
    await scan(page, "REPRINT:m-1");
    await page.locator("output", { hasText: "Copy 2 of the label of m-1" }).waitFor();
    expect(printed).toEqual(["m-1 1", "m-1 2"]);
    expect(ledger.isApproved("4711")).toBe(true);

    // 200 ms, beside what this machine takes now to show anything at all in this browser.
    const lagsMs = await lags(page, states);
    expect(lagsMs.length).toBeGreaterThan(0);
    expect(median(lagsMs)).toBeLessThan(200 + 10 * median(await frameTimes(page)));

    // Killed and back on the same port: the page says so at once, and then shows everything as it is.
    const { port } = new URL(server.url);
    await server.close();
    await page.locator("#dead").waitFor({ state: "visible", timeout: 2_000 });
    jig.judge(head, "passed");
    await new Promise((resolve) => setTimeout(resolve, 50));
    server = await startPage({ station, port: Number(port), texts: ENGLISH_TEXTS });
    await page.locator("#dead").waitFor({ state: "hidden", timeout: 10_000 });
    // A page of before has another secret; it learns the new one by itself.
    await scan(page, "RETRY:9");
    await page
      .waitForFunction(() => document.getElementById("answer")?.textContent !== "", undefined, { timeout: 5_000 })
      .catch(() => undefined);

    const failedHead = await page.waitForFunction(
      () => [...document.querySelectorAll("article")].find((tile) => tile.className === "failed")?.id,
      undefined,
      { timeout: 20_000 },
    );
    const failed = String(await failedHead.jsonValue());
    expect(await page.locator(`#${failed} .hint`).textContent()).toBe(
      "the board has the firmware f1-old; the order needs f1. Set this board aside to be flashed again.",
    );
    // By the keyboard alone: Tab from the empty field to the button.
    await page.evaluate(() => document.getElementById("scan")!.focus());
    for (
      let presses = 0;
      presses < 12 && (await page.evaluate(() => document.activeElement?.closest("article")?.className)) !== "failed";
      presses++
    )
      await page.keyboard.press("Tab");
    const tries = states.filter(([name, state]) => name === failed && state === "failed").length;
    await page.keyboard.press("Enter");
    await expect
      .poll(() => states.filter(([name, state]) => name === failed && state === "failed").length, { timeout: 10_000 })
      .toBeGreaterThan(tries);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("scan");
  });

  it("shows each state by word, colour and shape, with contrast, at both sizes, in another language", async () => {
    const station = stubStation();
    const texts = readPageTexts(JSON.stringify({ "state.passed": "GUT", title: "Prüfplatz <b>1</b>" }));
    const server = await startPage({ station: station as unknown as FactoryStation, port: 0, texts });
    closing.push(() => server.close());
    const page = await opened(server.url);
    await page.locator("#head-8").waitFor();
    expect(await page.locator("#queued").textContent()).toBe("4");
    for (const [width, height] of [
      [1280, 800],
      [1920, 1080],
    ] as const) {
      await page.setViewportSize({ width, height });
      const folder = process.env["HAWSER_SCREENSHOTS"];
      if (folder !== undefined) await page.screenshot({ path: join(folder, `station-${width}x${height}.png`) });
      const tiles = await page.evaluate(measureTiles);
      expect(tiles.map(({ state }) => state)).toEqual(STATES);
      // 7:1 (WCAG 2.2, 1.4.6), for they are read from two metres.
      for (const tile of tiles) expect(tile, tile.state).toMatchObject({ isInside: true, hasShape: true, isReadable: true });
      expect(new Set(tiles.map(({ word }) => word)).size).toBe(tiles.length);
      expect(new Set(tiles.map(({ shape }) => shape)).size).toBe(tiles.length);
      expect(
        await page.evaluate(
          () => document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight,
        ),
      ).toBe(true);
    }
    expect(await page.locator("#head-7 .word").textContent()).toBe("GUT");
    expect(await page.locator("h1").textContent()).toBe("Prüfplatz <b>1</b>");
  });

  it("lets in neither other names, nor other sites' commands, nor anybody without the token beyond loopback", async () => {
    const station = stubStation();
    const open = (more: object): Promise<RunningPage> =>
      startPage({ station: station as unknown as FactoryStation, port: 0, texts: ENGLISH_TEXTS, ...more });
    const local = await open({});
    closing.push(() => local.close());
    expect(await status(local.url, { host: "evil.example" })).toBe(421);
    expect((await fetch(new URL("/scan", local.url), { method: "POST", body: "STOP" })).status).toBe(403);
    expect(station.scans).toEqual([]);
    const page = await fetch(local.url);
    expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; script-src 'self'/);
    await expect(open({ host: "0.0.0.0" })).rejects.toMatchObject({ code: "USAGE" });
    await expect(open({ host: "0.0.0.0", token: "short" })).rejects.toMatchObject({ code: "USAGE" });
    await expect(open({ port: Number(new URL(local.url).port) })).rejects.toMatchObject({ code: "PORT_IN_USE" });
    const token = "a-token-of-some-length";
    const wide = await open({ host: "127.0.0.1", token });
    closing.push(() => wide.close());
    expect((await fetch(new URL("/events", wide.url))).status).toBe(401);
    expect((await fetch(new URL("/?token=wrong", wide.url))).status).toBe(401);
    const let_in = await fetch(new URL(`/?token=${token}`, wide.url), { redirect: "manual" });
    const cookie = let_in.headers.get("set-cookie") ?? "";
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict/);
    expect(cookie).not.toContain(token);
    expect((await fetch(wide.url, { headers: { cookie: cookie.split(";")[0] ?? "" } })).status).toBe(200);
  });
});

function status(url: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(url, { headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
}

/** From the event to its tile. */
/** How long each of nine frames took, asked for from outside: [ms]. */
async function frameTimes(page: Page): Promise<number[]> {
  const timesMs: number[] = [];
  while (timesMs.length < 9) {
    const begunMs = performance.now();
    await page.evaluate("new Promise((resolve) => requestAnimationFrame(resolve))");
    timesMs.push(performance.now() - begunMs);
  }
  return timesMs;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

async function lags(page: Page, states: readonly [string, string, number][]): Promise<number[]> {
  const seen = await page.evaluate(() => (window as unknown as { seen: [string, string, number][] }).seen);
  return seen.flatMap(([tile, state, atMs]) => {
    const begun = states.filter(([name, one, emittedMs]) => name === tile && one === state && emittedMs <= atMs).at(-1)?.[2];
    return begun === undefined ? [] : [atMs - begun];
  });
}

const STATES: HeadState[] = ["no-port", "empty", "waiting", "working", "label", "approval", "passed", "failed"];

function stubStation(): {
  view(): StationView;
  onEvent(listener: (event: StationEvent) => void): () => void;
  scan(text: string): Promise<{ isAccepted: boolean; message: string }>;
  scans: string[];
} {
  const failure = {
    class: "temporary",
    code: "LINE_LOST",
    message: "the serial line was lost: it ended",
    next: "Plug the board in again: it continues where it stopped.",
  } as const;
  const heads = STATES.map((state, index): HeadView => ({
    name: String(index + 1),
    port: "/dev/null",
    state,
    sinceMs: Date.now() - 12_000,
    retries: 1,
    ...(!["no-port", "empty"].includes(state) && { id: `meter-00000${index}`, step: "read-back", seconds: 2.1 }),
    ...(state === "waiting" && { waitsFor: "first-article" as const }),
    ...(state === "failed" && { failure }),
  }));
  const scans: string[] = [];
  const totals = { passed: 118, failed: 2, firstPassYield: 0.97, boardsPerHour: 1840, queued: 4, caDaysLeft: 3640, isClockPlausible: true };
  return {
    scans,
    view: () => ({
      isRunning: true,
      order: { ...ORDER, target: 300 },
      heads,
      totals,
      unlisted: ["/dev/serial/by-path/pci-0000:00:14.0-usb-0:9:1.0-port0"],
    }),
    onEvent: () => () => undefined,
    scan: (text) => Promise.resolve({ isAccepted: scans.push(text) > 0, message: "" }),
  };
}

/** Runs in the browser. */
function measureTiles(): { state: string; word: string; isReadable: boolean; isInside: boolean; hasShape: boolean; shape: string }[] {
  const luminance = (colour: string): number => {
    const [r = 0, g = 0, b = 0] = (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map((text) => {
      const part = Number(text) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll("article")].map((tile) => {
    const { color, backgroundColor } = getComputedStyle(tile);
    const [light = 0, dark = 0] = [luminance(color), luminance(backgroundColor)].sort((a, b) => b - a);
    const shape = tile.querySelector(".shape")!;
    const style = getComputedStyle(shape);
    return {
      state: tile.className,
      word: tile.querySelector(".word")!.textContent ?? "",
      isReadable: (light + 0.05) / (dark + 0.05) >= 7 && Number.parseFloat(getComputedStyle(tile.querySelector(".word")!).fontSize) >= 30,
      isInside: tile.scrollHeight <= tile.clientHeight && tile.scrollWidth <= tile.clientWidth,
      shape: [style.clipPath, style.borderRadius, style.borderStyle, style.borderRightColor === style.color].join(),
      hasShape:
        shape.getBoundingClientRect().width > 15 &&
        (style.clipPath !== "none" || style.borderRadius !== "0px" || style.borderStyle !== "none"),
    };
  });
}
