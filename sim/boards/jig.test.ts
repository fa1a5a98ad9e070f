import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { temporaryDirectory } from "../../test/support/host-tools/test-cli.js";
import { Jig } from "./jig.js";

it("is empty when every board is sorted, and not while the last is on its way into a head", async () => {
  const directory = join(temporaryDirectory(), "heads");
  const jig = new Jig({ directory, heads: 2, boards: 3, seed: 1, faults: [], firmware: "1.0.0" });
  onTestFinished(() => jig.close());
  let isEmptied = false;
  void jig.emptied.then(() => (isEmptied = true));
  await jig.open();
  // Both at once, as two heads may be done in the same moment.
  for (const head of ["1", "2"]) jig.judge(head, "passed");
  const last = await vi.waitFor(() => {
    const [name] = ["1", "2"].filter((head) => jig.results.length === 2 && existsSync(join(directory, `head-${head}`)));
    if (name === undefined) throw new Error("no board in a head yet");
    return name;
  }, 10_000);
  expect(isEmptied).toBe(false);
  // Whoever is still at work with the head lets the verdict wait.
  await vi.waitFor(() => {
    jig.judge(last, "passed");
    if (!isEmptied) throw new Error("not sorted yet");
  }, 10_000);
  expect(jig.results).toHaveLength(3);
});
