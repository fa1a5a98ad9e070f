/**
 * TLS sessions that outlive the program on XS: `hawser/sleep` over the native engine and key store, against real mosquitto. Every row ends
 * as on Node (`sim/node/kept-tls-ticket.test.ts`).
 */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import type { Credential, Endpoint } from "../../sdk/platform.js";
import { SESSION_SLOT } from "../../sdk/sleep/kept-tls-session.js";
import { connectPacket, RecordedLink } from "../../test/support/node/link-recorder.js";
import { freePort, mtlsListener, startMosquitto, type TestMosquitto } from "../../test/support/node/test-mosquitto.js";
import { TestCa } from "../../test/support/node/test-pki.js";
import { BITS } from "../../test/support/xs/pointer-sizes.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { RemoteXs } from "../../test/support/xs/remote-xs.js";
import { buildHost, type Bits } from "./host-build.js";
import { nativeParts } from "./native-parts.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MONTH = { notAfter: new Date(Date.now() + 30 * DAY_MS) };

const programs = new ProgramFolder();
let ca: TestCa;
let stranger: TestCa;
let program: string;
let broker: TestMosquitto | undefined;
let port: number;
let pskPort: number;

beforeAll(async () => {
  [ca, stranger] = [await TestCa.create("Hawser", MONTH), await TestCa.create("Stranger")];
  const server = await ca.server(["localhost", "127.0.0.1"], MONTH);
  [port, pskPort] = [await freePort(), await freePort()];
  const files = { "ca.pem": ca.caPem, "server.pem": server.chainPem, "server.key": server.keyPem, psk: `dev1:${"5a".repeat(32)}\n` };
  broker = await startMosquitto(programs.path, "broker", files, [
    ...mtlsListener(port),
    `listener ${pskPort} 127.0.0.1`,
    "psk_file psk",
    "psk_hint hawser",
    "use_identity_as_username true",
  ]);
  const entry = fileURLToPath(new URL("../../test/support/xs/remote-program.ts", import.meta.url));
  program = (await bundleDevice({ entry, outputFile: join(programs.path, "remote.mjs") })).file;
  for (const bits of BITS) await buildHost({ bits, native: await nativeParts(bits) });
}, 600_000);

afterAll(async () => {
  await broker?.stop();
  await programs.close();
});

/** A device's flash: its keys and its records. */
interface Flash {
  keysFolder: string;
  storageFolder: string;
}

const VERSIONS = [
  ["TLSv1.3", 0x0304],
  ["TLSv1.2", 0x0303],
] as const;

describe.each(BITS)("A kept session on XS at %i bits", (bits: Bits) => {
  describe.each(VERSIONS)("on %s", (tlsVersion, maximumVersion) => {
    let flash: Flash;
    let chain: Uint8Array[];
    let made = 0;
    const endpoint = (): Endpoint => ({ host: "localhost", port });
    const mtls = (given = chain, trustAnchors = ca.trustAnchors): Credential => ({
      kind: "mtls",
      slot: "key-a",
      chain: given,
      trustAnchors,
    });

    beforeEach(async () => {
      const name = `${bits}-${tlsVersion}-${made++}`;
      flash = { keysFolder: programs.folder(`keys-${name}`), storageFolder: programs.folder(`records-${name}`) };
      chain = await powered(async (xs) => {
        await xs.generate("key-a");
        return ca.clientChain(await xs.publicKey("key-a"), "dev1", MONTH);
      });
    });

    /** One power-on of the device: a process of its own. */
    async function powered<Result>(use: (xs: RemoteXs) => Promise<Result>, on = flash): Promise<Result> {
      const xs = new RemoteXs(await programs.start({ program, bits, native: await nativeParts(bits), ...on, inRom: "code" }));
      const result = await use(xs);
      expect(await xs.end()).toEqual({ code: 0, signal: undefined, errors: "" });
      return result;
    }

    /** Connects, is accepted, and leaves. @returns whether it resumed */
    async function visit(xs: RemoteXs, credential = mtls(), to = endpoint(), mayReturn = true): Promise<boolean> {
      const dialer = xs.dialer({ maximumVersion, keepSessions: true });
      const recorded = new RecordedLink(dialer, to, credential, { onOpened: (link) => link.write(connectPacket("dev1")) });
      const { resumed, tlsVersion: spoken } = await recorded.opened;
      expect([spoken, ...(await recorded.bytes(4))]).toEqual([tlsVersion, 0x20, 2, 0, 0]);
      recorded.link.close(mayReturn);
      await recorded.ended;
      return resumed;
    }

    const waking = (credential = mtls(), to = endpoint(), on = flash): Promise<boolean> => powered((xs) => visit(xs, credential, to), on);

    it("serves one power-on, which leaves one for the next", async () => {
      expect([await waking(), await waking(), await waking()]).toEqual([false, true, true]);
    });

    it("is moved and not copied: two connections of one power-on, and the next power-on, use three", async () => {
      const resumed = await powered(async (xs) => [await visit(xs), await visit(xs), (await xs.record(SESSION_SLOT)).length > 0]);
      expect([...resumed, await waking()]).toEqual([false, true, true, true]);
    });

    it("is gone before it is offered, with its key, whatever becomes of the attempt", async () => {
      await waking();
      await powered(async (xs) => {
        const attempt = new RecordedLink(xs.dialer({ maximumVersion, keepSessions: true }), endpoint(), mtls());
        expect([(await xs.record(SESSION_SLOT)).length, await xs.has(SESSION_SLOT)]).toEqual([0, false]);
        attempt.link.close();
        await attempt.ended;
      });
      expect(await waking()).toBe(false);
    });

    it("is not left by a connection that ended otherwise", async () => {
      await powered((xs) => visit(xs, mtls(), endpoint(), false));
      expect(await waking()).toBe(false);
    });

    it("serves no other certificate, and not its own again after that", async () => {
      await waking();
      const other = await powered(async (xs) => ca.clientChain(await xs.publicKey("key-a"), "dev1", MONTH));
      expect([await waking(mtls(other)), await waking()]).toEqual([false, false]);
    });

    it("does not outlive a change of trust anchors, nor serve another endpoint", async () => {
      await waking();
      expect(await waking(mtls(chain, [...ca.trustAnchors, ...stranger.trustAnchors]))).toBe(false);
      await waking();
      expect(await waking(mtls(), { ...endpoint(), host: "127.0.0.1", serverName: "localhost" })).toBe(false);
    });

    it("is worth nothing on another device that has the same certificate and key", async () => {
      const thief = { keysFolder: programs.folder(`thief-${bits}-${tlsVersion}`), storageFolder: flash.storageFolder };
      cpSync(flash.keysFolder, thief.keysFolder, { recursive: true });
      await powered((xs) => xs.importPsk(SESSION_SLOT, Buffer.alloc(32, 7)), thief);
      await waking();
      expect(await waking(mtls(), endpoint(), thief)).toBe(false);
    });

    it("is worth nothing when an older record is brought back, or when it is damaged", async () => {
      await waking();
      const older = await powered((xs) => xs.record(SESSION_SLOT));
      await waking();
      await powered((xs) => xs.putRecord(SESSION_SLOT, older));
      expect(await waking()).toBe(false);
      for (const at of [0, 1, 13, older.length - 1]) {
        await powered(async (xs) => {
          const bytes = await xs.record(SESSION_SLOT);
          bytes[at] = (bytes[at] ?? 0) ^ 1;
          await xs.putRecord(SESSION_SLOT, bytes);
        });
        expect(await waking()).toBe(false);
      }
      await powered((xs) => xs.putRecord(SESSION_SLOT, new Uint8Array(29)));
      expect(await waking()).toBe(false);
    });

    it("is resumed for a week at most, however often, and not beyond the end of the device's certificate", async () => {
      const later = (ms: number, credential = mtls()): Promise<boolean> =>
        powered(async (xs) => {
          await xs.setClock(ms);
          return visit(xs, credential);
        });
      // A broker takes back a ticket of TLS 1.3 by its own clock alone, and the device by how long it was to live.
      const steps = [0, HOUR_MS, 1.5 * HOUR_MS, 7 * DAY_MS + 2 * HOUR_MS];
      const resumed: boolean[] = [];
      for (const ms of steps) resumed.push(await later(ms));
      expect(resumed).toEqual([false, true, true, false]);
      const brief = await powered(async (xs) =>
        ca.clientChain(await xs.publicKey("key-a"), "dev1", { notAfter: new Date(Date.now() + HOUR_MS) }),
      );
      expect([await later(0, mtls(brief)), await later(HOUR_MS / 2, mtls(brief)), await later(HOUR_MS + 60_000, mtls(brief))]).toEqual([
        false,
        true,
        false,
      ]);
    });

    it("is never one of a pre-shared key", async () => {
      const psk: Credential = { kind: "psk", slot: "psk", identity: "dev1" };
      await powered((xs) => xs.importPsk("psk", Buffer.alloc(32, 0x5a)));
      for (let turn = 0; turn < 2; turn++) expect(await waking(psk, { host: "localhost", port: pskPort })).toBe(false);
      expect((await powered((xs) => xs.record(SESSION_SLOT))).length).toBe(0);
    });
  });
});
