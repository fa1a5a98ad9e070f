import { cpSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { forgetRevision } from "../ca-directory/revision-witness.js";
import { openCa } from "./certificate-authority.js";
import { verifyCa } from "./verification.js";

const scene = new Scene();
afterEach(() => scene.clean());

const problemsBy = async (directory: string, text: string): Promise<readonly string[]> =>
  (await verifyCa(directory, PASSPHRASE, { checkpoints: new Map([["shelf.checkpoint", text]]) })).problems;

it(
  "a checkpoint shows what was undone by somebody with the passphrase, through rollovers of issuing CA and root",
  { timeout: 120_000 },
  async () => {
    const ca = await scene.ca({ name: "Plant 7" });
    const { directory } = ca;
    await provisionDevice(ca, "dev1");
    const old = join(scene.directory(), "old");
    cpSync(directory, old, { recursive: true });
    await ca.revoke({ id: "dev1" });
    const revision = readFileSync(join(directory, "revision"), "utf8");
    const { text, checkpoint } = await ca.makeCheckpoint();
    expect(text).toMatch(/^A checkpoint of a Hawser CA\n\nCA: Plant 7\nMade at: \S+\nChange: \d+\n/);
    // Making one changes nothing.
    expect(readFileSync(join(directory, "revision"), "utf8")).toBe(revision);
    expect(await problemsBy(directory, text)).toEqual([]);

    // The state before the revocation is put back as a whole, and the memory of it is gone: nothing in the directory tells.
    cpSync(directory, `${old}.new`, { recursive: true });
    rmSync(directory, { recursive: true });
    cpSync(old, directory, { recursive: true });
    forgetRevision(directory);
    expect((await verifyCa(directory, PASSPHRASE)).problems).toEqual([]);
    expect(await problemsBy(directory, text)).toEqual([
      expect.stringMatching(`ends before the checkpoint shelf.checkpoint .* change ${checkpoint.revision}`),
    ]);
    // Changes that follow hide the end, not the difference.
    const forked = await openCa(directory, PASSPHRASE);
    for (let change = 0; change < 3; change++) await forked.renewCrl();
    expect(await problemsBy(directory, text)).toEqual([expect.stringContaining("is another one than at the checkpoint")]);
    rmSync(directory, { recursive: true });
    cpSync(`${old}.new`, directory, { recursive: true });
    forgetRevision(directory);

    // What it was signed with is gone one day; what the CA has still leads to it.
    const again = await openCa(directory, PASSPHRASE);
    await again.rollOverRoot();
    await again.retirePrevious(true);
    expect(await problemsBy(directory, text)).toEqual([]);
    expect(await problemsBy(directory, (await again.makeCheckpoint()).text.replaceAll("\n", "\r\n"))).toEqual([]);

    const stranger = (await (await scene.ca({ name: "Plant 7" })).makeCheckpoint()).text;
    const [head = "", tail = ""] = text.split("Signature: ");
    for (const [forged, why] of [
      [stranger, "no root of this CA"],
      [text.replace(/Change: \d+/, "Change: 1"), "its signature does not fit"],
      [
        `${head}Signature: ${stranger.split("Signature: ")[1]?.split("\n")[0]}\n${tail.slice(tail.indexOf("\n") + 1)}`,
        "its signature does not fit",
      ],
      [text.slice(0, text.indexOf("-----BEGIN")), "it lacks its certificates"],
      [text.replace("CA: Plant 7", "CA: Plant 7\nApproved: yes"), "it is damaged"],
      ["", "it is damaged"],
    ] as const)
      await expect(problemsBy(directory, forged)).rejects.toMatchObject({
        code: "CHECKPOINT_INVALID",
        message: expect.stringContaining(why) as string,
      });
  },
);
