/** To which CA a broker's directory belongs: copies, backups that were put back and other CAs do not take it over in silence. */
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { PASSPHRASE, provisionDevice, Scene } from "../../test/support/host-tools/scene.js";
import { openBackup } from "../ca-directory/backup-file.js";
import { openCa } from "./certificate-authority.js";
import type { CertificateAuthority } from "./certificate-authority.js";
import { restoreCa } from "./restore.js";

const scene = new Scene();
afterEach(async () => {
  vi.unstubAllEnvs();
  await scene.clean();
});

const quiet = { onOutput: () => undefined };
const refused = (code: string): unknown => expect.objectContaining({ code, nextStep: expect.stringMatching(/./) });
const reopen = (directory: string): Promise<CertificateAuthority> => openCa(directory, PASSPHRASE, quiet);

function configure(ca: CertificateAuthority, out: string, takeOver = false): Promise<unknown> {
  return ca.writeBrokerConfig({ engine: "mosquitto", out, mtlsPort: 8883, pskPort: 8884, bind: "127.0.0.1", takeOver });
}

async function configured(): Promise<{ ca: CertificateAuthority; out: string; crl: () => string }> {
  const ca = await scene.ca({}, quiet);
  const out = join(scene.directory(), "broker");
  await configure(ca, out);
  return { ca, out, crl: () => readFileSync(join(out, "crl.pem"), "utf8") };
}

/** As `cp -r` makes it. */
function copied(ca: CertificateAuthority): string {
  const copy = join(scene.directory(), "ca");
  cpSync(ca.directory, copy, { recursive: true });
  return copy;
}

const problemsOf = async (ca: CertificateAuthority, takeOver = false): Promise<(string | undefined)[]> =>
  (await ca.syncOutputs([], takeOver)).map(({ problem }) => problem?.code);

/** Its sessions cannot be proved to have ended: no broker runs. */
const revokedIn = (ca: CertificateAuthority): Promise<void> =>
  expect(ca.revoke({ id: "dev1", reason: "keyCompromise" })).rejects.toThrow("dev1 is revoked");

describe("a broker's directory", () => {
  it("does not follow a copy of its CA, unless that is told to take it over; then the other is refused", async () => {
    const { ca, crl } = await configured();
    const copy = await reopen(copied(ca));
    const before = crl();
    await provisionDevice(copy, "dev1");
    await revokedIn(copy);
    expect(crl()).toBe(before);
    expect(await problemsOf(copy)).toEqual(["OUTPUT_TAKEN"]);
    expect(await problemsOf(ca)).toEqual([undefined]);

    // The files are the copy's now; what it cut off cannot be proved, for no broker runs.
    expect(await problemsOf(copy, true)).toEqual(["OUTPUT_UNPROVED"]);
    expect(crl()).not.toBe(before);
    await provisionDevice(ca, "dev2");
    expect(await problemsOf(ca)).toEqual(["OUTPUT_NEWER"]);
  });

  it("follows its CA to another place", async () => {
    const { ca } = await configured();
    const elsewhere = join(scene.directory(), "ca");
    renameSync(ca.directory, elsewhere);
    const moved = await reopen(elsewhere);
    expect(await problemsOf(moved)).toEqual([undefined]);
    await provisionDevice(moved, "dev1");
    expect(await problemsOf(moved)).toEqual([undefined]);
  });

  it("never goes back to an older state of its CA, whoever put it there and whatever it is told", async () => {
    const { ca, out, crl } = await configured();
    await provisionDevice(ca, "dev1");
    const backup = copied(ca);
    await revokedIn(ca);
    const after = crl();
    rmSync(ca.directory, { recursive: true });
    cpSync(backup, ca.directory, { recursive: true });
    // Another user, or another machine: nothing else remembers.
    vi.stubEnv("HAWSER_STATE_DIR", scene.directory());
    const older = await reopen(ca.directory);
    expect(await problemsOf(older)).toEqual(["OUTPUT_NEWER"]);
    expect(await problemsOf(older, true)).toEqual(["OUTPUT_NEWER"]);
    await expect(configure(older, out, true)).rejects.toEqual(refused("OUTPUT_NEWER"));
    expect(crl()).toBe(after);
  });

  it("is another CA's only when that is told to take it over", async () => {
    const { ca, out } = await configured();
    const other = await scene.ca({}, quiet);
    await expect(configure(other, out)).rejects.toEqual(refused("OUTPUT_TAKEN"));
    await configure(other, out, true);
    expect(await problemsOf(other)).toEqual([undefined]);
    await provisionDevice(ca, "dev1");
    expect(await problemsOf(ca)).toEqual(["OUTPUT_TAKEN"]);
  });

  it("is taken over by a restored CA that knows of every revocation, and by no other", async () => {
    const { ca, out, crl } = await configured();
    await provisionDevice(ca, "dev1");
    const file = join(scene.directory(), "ca.backup");
    await ca.backUp(file);
    await revokedIn(ca);
    const opened = openBackup(readFileSync(file), PASSPHRASE, file);
    renameSync(ca.directory, `${ca.directory}-lost`);
    const restore = async (more: object): Promise<CertificateAuthority> => {
      const home = join(scene.directory(), "ca");
      await restoreCa(opened, home, { passphrase: PASSPHRASE, lists: new Map(), ...more });
      return reopen(home);
    };
    await expect(configure(await restore({ withoutLists: true }), out, true)).rejects.toEqual(refused("OUTPUT_NEWER"));
    vi.stubEnv("HAWSER_STATE_DIR", scene.directory());
    const informed = await restore({ lists: new Map([["crl.pem", crl()]]) });
    await expect(configure(informed, out)).rejects.toEqual(refused("OUTPUT_TAKEN"));
    await configure(informed, out, true);
    expect(await problemsOf(informed)).toEqual([undefined]);
  });

  it("that says nothing of its CA is bound to the first that writes there; one that says nonsense is left alone", async () => {
    const { ca, out } = await configured();
    const mark = join(out, ".hawser-ca.json");
    rmSync(mark);
    expect(await problemsOf(ca)).toEqual([undefined]);
    expect(JSON.parse(readFileSync(mark, "utf8"))).toMatchObject({ v: 1, path: ca.directory });
    const bound = JSON.parse(readFileSync(mark, "utf8")) as object;
    for (const nonsense of ["{}", JSON.stringify(bound).replace(/"revision":\d+/, '"revision":1e300')]) {
      writeFileSync(mark, nonsense);
      expect(await problemsOf(ca, true)).toEqual(["OUTPUT_TAKEN"]);
    }
  });

  it("in which the broker's user put a link or a pipe neither leads the CA elsewhere nor keeps it waiting", async () => {
    const { ca, out, crl } = await configured();
    const mark = join(out, ".hawser-ca.json");
    const elsewhere = join(scene.directory(), "mark");
    renameSync(mark, elsewhere);
    symlinkSync(elsewhere, mark);
    expect(await problemsOf(ca)).toEqual(["OUTPUT_TAKEN"]);
    rmSync(mark);
    execFileSync("mkfifo", ["-m", "600", mark]);
    expect(await problemsOf(ca)).toEqual(["OUTPUT_TAKEN"]);
    rmSync(mark);
    const before = crl();
    rmSync(join(out, "crl.pem"));
    execFileSync("mkfifo", ["-m", "600", join(out, "crl.pem")]);
    expect(await problemsOf(ca)).toEqual([undefined]);
    expect(crl()).toBe(before);
  });
});
