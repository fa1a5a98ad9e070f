import { expect, test, vi } from "vitest";
import { StreamMarks } from "./stream-marks.js";

const bytes = (text: string): Uint8Array => Buffer.from(text);

test("a mark that comes back says so, and nothing else does", async () => {
  const marks = new StreamMarks();
  const sent: string[] = [];
  const [first, second] = [marks.come((mark) => sent.push(mark), 10_000), marks.come((mark) => sent.push(mark), 10_000)];
  marks.heard(bytes("somebody else's"));
  marks.heard(bytes(sent[1] ?? ""));
  expect(await second).toBe(true);
  marks.lost();
  expect(await first).toBe(false);
});

test("a mark that is late is waited for no longer", async () => {
  vi.useFakeTimers();
  try {
    const marks = new StreamMarks();
    let sent = "";
    const late = marks.come((mark) => (sent = mark), 10_000);
    vi.advanceTimersByTime(10_000);
    marks.heard(bytes(sent));
    expect(await late).toBe(false);
  } finally {
    vi.useRealTimers();
  }
});
