/** The report as a browser lays it out. */
import { chromium, type Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FleetResult, Sample } from "../../../sim/fleet/fleet-result.js";
import { htmlReport } from "./run-report-page.js";

let browser: Browser;
beforeAll(async () => {
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});
afterAll(() => browser.close());

const quantiles = { count: 9, p50Ms: 1, p90Ms: 2, p99Ms: 3, p999Ms: 4, maxMs: 5 };

function reportOf(seconds: number, { devices = 2_000, cpu = 2 } = {}): string {
  const samples: Sample[] = Array.from({ length: 61 }, (_, index) => ({
    atMs: (index * seconds * 1_000) / 60,
    connected: devices,
    asleep: 0,
    attempts: 100 * index,
    messages: 12_345 * index,
    waiting: 5,
    p50Ms: 1,
    p99Ms: 20,
    rssMb: cpu * 100,
    byCredential: { mtls: devices, psk: 3 },
  }));
  const result: FleetResult = {
    v: 1,
    name: "fleet",
    seed: "s",
    client: "hawser",
    broker: "embedded",
    startedAt: "2026-01-01T00:00:00.000Z",
    durationMs: seconds * 1_000,
    devices,
    workers: 2,
    passed: true,
    checks: [{ name: "every device comes online", passed: true, detail: "after 3 s" }],
    messages: {
      accepted: { qos0: 0, qos1: 1, qos2: 0 },
      delivered: 1,
      copiesAtQos1: 0,
      lostAtQos0: 0,
      refused: 0,
      faults: [],
      faultCount: 0,
    },
    commands: { sent: 0, answered: 0, unanswered: [] },
    delivery: quantiles,
    answer: quantiles,
    connections: { most: devices, accepted: devices, attempts: devices, allOnlineMs: 100, renewed: 0, devicesByCredential: {} },
    failures: {},
    cost: { kilobytesPerDevice: cpu * 60, cpuPercentPerThousand: cpu, cpuMicrosPerMessage: cpu },
    samples,
    events: [{ atMs: 500 * seconds, what: "broker killed" }],
  };
  return htmlReport(result);
}

/** What overlaps or hangs out of its plot, by its text. */
async function flaws(html: string): Promise<{ flaws: string[]; times: string[] }> {
  const page = await browser.newPage({ viewport: { width: 1_000, height: 800 } });
  try {
    await page.setContent(html);
    return (await page.evaluate(`(() => {
      const flaws = [];
      const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
      for (const svg of document.querySelectorAll("svg")) {
        const frame = svg.getBoundingClientRect();
        const texts = [...svg.querySelectorAll("text")].map((node) => ({ text: node.textContent, box: node.getBoundingClientRect() }));
        for (const { text, box } of texts) if (box.left < frame.left || box.right > frame.right || box.bottom > frame.bottom || box.top < frame.top) flaws.push("outside: " + text);
        for (const [index, one] of texts.entries()) for (const other of texts.slice(index + 1)) if (!apart(one.box, other.box)) flaws.push("overlap: " + one.text + ", " + other.text);
        for (const curve of svg.querySelectorAll("polyline")) for (const { text, box } of texts) if (!apart(curve.getBoundingClientRect(), box)) flaws.push("curve over: " + text);
      }
      const first = document.querySelector("svg");
      return { flaws, times: [...first.querySelectorAll('text[text-anchor="middle"]')].map((node) => node.textContent) };
    })()`)) as { flaws: string[]; times: string[] };
  } finally {
    await page.close();
  }
}

describe("the plots of a report", () => {
  it.each([
    [8, ["0 s", "1 s", "2 s", "3 s", "4 s", "5 s", "6 s", "7 s", "8 s"]],
    [97, ["0 s", "15 s", "30 s", "45 s", "1:00", "1:15", "1:30"]],
    [1_800, ["0 s", "5:00", "10:00", "15:00", "20:00", "25:00", "30:00"]],
    [604_800, ["0 s", "1 d", "2 d", "3 d", "4 d", "5 d", "6 d", "7 d"]],
  ])("show a run of %i s with round times, and neither text nor curve runs into another", async (seconds, times) => {
    expect(await flaws(reportOf(seconds))).toEqual({ flaws: [], times });
  });

  it("tell no cost where none was measured", () => {
    expect(reportOf(60)).toContain("120 KB a device");
    expect(reportOf(60, { devices: 20 })).not.toContain("KB a device");
    const virtual = reportOf(60, { cpu: 0 });
    expect(virtual).toContain("<td>Cost</td><td>not measured</td>");
    expect(virtual).not.toContain("Memory of");
  });
});
