/** The demo as users start it, against both brokers. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { STORY } from "../../host-tools/cli/demo/story.js";
import { buildCli, hawser, temporaryDirectory } from "../support/host-tools/test-cli.js";

interface Line {
  event: string;
  step?: number;
  ok?: boolean;
  serial?: string;
  newSerial?: string;
}

beforeAll(buildCli);

describe("hawser demo", () => {
  it.each(["embedded", "mosquitto"])(
    "plays every step against the %s broker, says so in JSON, and leaves nothing behind",
    { timeout: 120_000 },
    async (engine) => {
      const directory = temporaryDirectory();
      const { code, stdout, stderr } = await hawser(["demo", "--engine", engine, "--json"], { cwd: directory, env: { TMPDIR: directory } });
      expect(stderr).toBe("");
      expect(code).toBe(0);
      const lines = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Line);
      expect(lines.filter(({ event, ok }) => event === "step" && ok).map(({ step }) => step)).toEqual(STORY.map((_, index) => index + 1));
      expect(lines.at(-1)?.event).toBe("done");
      expect(new Set(lines.filter(({ event }) => event === "renewed").map(({ newSerial }) => newSerial)).size).toBe(2);
      expect(readdirSync(directory)).toEqual([]);
    },
  );

  it("shows a readable timeline without colours where nobody looks on", { timeout: 120_000 }, async () => {
    const { code, stdout } = await hawser(["demo"], { cwd: temporaryDirectory() });
    expect(code).toBe(0);
    expect(stdout).not.toContain("\u001b");
    for (const [index, { title }] of STORY.entries()) expect(stdout).toContain(`${index + 1}. ${title}`);
  });

  it("is what the README shows", () => {
    const readme = readFileSync(fileURLToPath(new URL("../../README.md", import.meta.url)), "utf8");
    for (const [index, { title }] of STORY.entries()) expect(readme).toContain(`${index + 1}. ${title}`);
  });
});
