/**
 * Talks to a PKCS#11 token through `pkcs11-tool` of OpenSC, one process a question: no native addon, no compiler, and the token's library
 * stays out of this process. The PIN goes to that process in its environment, which only this user and root can read; never in its
 * arguments.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { HawserError } from "../../sdk/errors.js";
import { CURVES, spkiOf } from "../pki/signer.js";
import type { KeyType } from "../pki/signer.js";
import { describeTokenKey } from "./pkcs11-uri.js";
import type { TokenKey } from "./pkcs11-uri.js";

/** A key that a token holds. */
export interface HeldKey {
  readonly label: string;
  /** CKA_ID, lower-case hex. */
  readonly id: string;
  /** False when the token would give the key away. */
  readonly isKept: boolean;
}

/** Slow cards make a key in some seconds. */
const LONGEST_ANSWER_MS = 60_000;
const PIN_VARIABLE = "HAWSER_TOKEN_PIN";

/** Where distributions put libraries of tokens, in the order in which they are tried. */
const MODULES: readonly string[] = [
  ...["x86_64-linux-gnu", "aarch64-linux-gnu", "arm-linux-gnueabihf"].map((machine) => `/usr/lib/${machine}/p11-kit-proxy.so`),
  "/usr/lib64/p11-kit-proxy.so",
  "/usr/lib/softhsm/libsofthsm2.so",
];

export class Pkcs11Tool {
  #module: string | undefined;
  #slot: Promise<string> | undefined;
  #pin: Promise<string> | undefined;
  #refused: HawserError | undefined;

  /** @param pin asked once, when the token is first needed */
  constructor(
    private readonly key: TokenKey,
    private readonly pin: () => Promise<string>,
  ) {}

  /** The token's PKCS#11 library. Throws `TOKEN_LIBRARY_MISSING`. */
  get module(): string {
    this.#module ??= findModule(this.key);
    return this.#module;
  }

  /** The private keys of the token. */
  async keys(): Promise<HeldKey[]> {
    const output = await this.#loggedIn(["--list-objects", "--type", "privkey"]);
    return blocksOf(output.toString("utf8"), /^Private Key Object/).map(({ fields }) => {
      const access = (fields.get("Access") ?? "").split(", ");
      return {
        label: fields.get("label") ?? "",
        id: (fields.get("ID") ?? "").toLowerCase(),
        isKept: access.includes("sensitive") && !access.includes("extractable"),
      };
    });
  }

  /** Makes a key pair that stays in the token. */
  async makeKey(type: KeyType, label: string, id: string): Promise<void> {
    await this.#loggedIn(["--keypairgen", "--key-type", `EC:${CURVES[type].openssl}`, "--label", label, "--id", id, "--usage-sign"]);
  }

  /** DER SubjectPublicKeyInfo. From the list: `--read-object` of OpenSC 0.23 cannot read a key on P-384. */
  async publicKey(id: string): Promise<Uint8Array> {
    const output = await this.#loggedIn(["--list-objects", "--type", "pubkey"]);
    const found = blocksOf(output.toString("utf8"), /^Public Key Object/).find(({ fields }) => fields.get("ID")?.toLowerCase() === id);
    if (found === undefined) throw this.#keyMissing();
    const hex = (name: string): string => /^[0-9a-f]+/i.exec(found.fields.get(name) ?? "")?.[0].toLowerCase() ?? "";
    const curve = Object.values(CURVES).find(({ parameters }) => parameters === hex("EC_PARAMS"));
    const point = Buffer.from(hex("EC_POINT"), "hex");
    // An OCTET STRING around the point with most tokens, the bare point with some.
    if (curve !== undefined && point.length > 2 * curve.sizeBytes) return spkiOf(curve, point.subarray(-(2 * curve.sizeBytes + 1)));
    throw new HawserError("BAD_KEY", `${describeTokenKey(this.key)} is not on P-256 or P-384`, "Make a key on one of these curves.");
  }

  /** Signs a hash by ECDSA: r and s. By id: `pkcs11-tool` takes any key at all when a label leads nowhere. */
  signHash(id: string, hash: Uint8Array): Promise<Buffer> {
    return this.#loggedIn(["--sign", "--mechanism", "ECDSA", "--signature-format", "rs", "--id", id], hash);
  }

  async #loggedIn(question: readonly string[], input?: Uint8Array): Promise<Buffer> {
    // A token locks itself after some wrong PINs: one that was refused is never shown again.
    if (this.#refused !== undefined) throw this.#refused;
    this.#slot ??= this.#findSlot();
    this.#pin ??= this.pin();
    const [slot, pin] = await Promise.all([this.#slot, this.#pin]).catch((error: unknown) => {
      this.#slot = undefined;
      this.#pin = undefined;
      throw error;
    });
    // Asked again: another call may have been refused while this one waited for the PIN.
    if (this.#refused !== undefined) throw this.#refused;
    const { status, stdout, stderr } = await this.#run(
      ["--slot", slot, "--login", "--pin", `env:${PIN_VARIABLE}`, ...question],
      { [PIN_VARIABLE]: pin },
      input,
    );
    if (status === 0) return stdout;
    // The card may have been reset or replaced: the next call looks for it again.
    this.#slot = undefined;
    const code = /CKR_\w+/.exec(stderr)?.[0] ?? "";
    if (code.startsWith("CKR_PIN_")) this.#refused = wrongPin(this.key.token, code);
    throw this.#refused ?? this.#failed(stderr, code);
  }

  async #findSlot(): Promise<string> {
    const { status, stdout, stderr } = await this.#run(["--list-token-slots"], {});
    if (status !== 0) throw this.#failed(stderr, /CKR_\w+/.exec(stderr)?.[0] ?? "");
    const tokens = blocksOf(stdout.toString("utf8"), /^Slot \d+ \((0x[0-9a-f]+)\)/).map(({ head, fields }) => ({
      slot: head[1] ?? "",
      label: fields.get("token label"),
      serial: fields.get("serial num"),
    }));
    const { token, serial } = this.key;
    const fit = tokens.filter((one) => one.label === token && (serial === undefined || one.serial === serial));
    if (fit.length > 1)
      throw new HawserError(
        "TOKEN_AMBIGUOUS",
        `${fit.length} tokens are called ${token}`,
        `Add serial= to the URI: ${fit.map((one) => one.serial ?? "").join(" or ")}`,
      );
    if (fit[0] !== undefined) return fit[0].slot;
    const others = tokens.map(({ label }) => label ?? "").filter((label) => label !== "");
    const there = others.length === 0 ? "no token is there" : `there are ${others.join(", ")}`;
    throw new HawserError(
      "TOKEN_NOT_FOUND",
      `no token ${token}${serial === undefined ? "" : ` with the serial number ${serial}`} (${this.module}): ${there}`,
      "Plug it in, or check token= and module-path= of the URI.",
    );
  }

  #failed(stderr: string, code: string): HawserError {
    if (/Failed to load pkcs11 module/.test(stderr)) return libraryMissing(`${this.module} is not a PKCS#11 library that can be loaded`);
    if (/object not found|key not found/i.test(stderr)) return this.#keyMissing();
    const line = stderr.split("\n").find((text) => /error|rv = /.test(text)) ?? stderr.trim().split("\n").at(-1) ?? "";
    return new HawserError(
      "TOKEN_FAILED",
      `the token ${this.key.token} failed: ${code === "" ? line : code}`,
      "Check that it is plugged in and its service runs, then run the command again.",
    );
  }

  #keyMissing(): HawserError {
    return new HawserError(
      "TOKEN_KEY_MISSING",
      `the token ${this.key.token} has no key ${this.key.object ?? this.key.id ?? ""}`,
      "Check object= of the URI, and whether it is the right token.",
    );
  }

  async #run(
    parameters: readonly string[],
    secrets: Readonly<Record<string, string>>,
    input?: Uint8Array,
  ): Promise<{ status: number | null; stdout: Buffer; stderr: string }> {
    const { module } = this;
    const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("HAWSER_"));
    const env = {
      ...Object.fromEntries(kept),
      PATH: [process.env["PATH"] ?? "", "/usr/local/bin", "/usr/bin"].join(":"),
      LC_ALL: "C",
      ...secrets,
    };
    return new Promise((resolve, reject) => {
      const child = spawn("pkcs11-tool", ["--module", module, ...parameters], {
        env,
        stdio: ["pipe", "pipe", "pipe"],
        timeout: LONGEST_ANSWER_MS,
        killSignal: "SIGKILL",
      });
      const stdout: Buffer[] = [];
      let stderr = "";
      child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
      child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
      child.on("error", () => reject(toolMissing()));
      child.on("close", (status) =>
        resolve({
          status,
          stdout: Buffer.concat(stdout),
          stderr: status === null ? `${stderr}\nerror: no answer within ${LONGEST_ANSWER_MS / 1000} s` : stderr,
        }),
      );
      // One that ends before it reads is judged by how it ends.
      child.stdin.on("error", () => undefined);
      child.stdin.end(input);
    });
  }
}

function findModule({ modulePath }: TokenKey): string {
  const module = process.env["HAWSER_PKCS11_MODULE"] ?? modulePath ?? MODULES.find((path) => existsSync(path));
  if (module === undefined) throw libraryMissing("no PKCS#11 library of a token is known");
  if (!existsSync(module)) throw libraryMissing(`the PKCS#11 library ${module} is not there`);
  return module;
}

/** `pkcs11-tool` prints a line for a thing and indented `name: value` lines below it. */
function blocksOf(text: string, head: RegExp): { head: RegExpExecArray; fields: Map<string, string> }[] {
  const blocks: { head: RegExpExecArray; fields: Map<string, string> }[] = [];
  let isOurs = false;
  for (const line of text.split("\n")) {
    const start = head.exec(line);
    if (start !== null) blocks.push({ head: start, fields: new Map() });
    if (!line.startsWith(" ")) isOurs = start !== null;
    const [, name = "", value = ""] = /^ +([\w /]+?) *: *(.*?) *$/.exec(line) ?? [];
    if (isOurs && name !== "") blocks.at(-1)?.fields.set(name, value);
  }
  return blocks;
}

function wrongPin(token: string, code: string): HawserError {
  if (code === "CKR_PIN_LOCKED")
    return new HawserError(
      "PIN_LOCKED",
      `the token ${token} has locked its PIN after too many wrong ones`,
      "Unlock it with its SO-PIN, with the token's own tool.",
    );
  return new HawserError(
    "WRONG_PIN",
    `the token ${token} refuses the PIN; it is not tried again, because a token locks itself after some wrong ones`,
    "Give the token's user PIN.",
  );
}

function libraryMissing(what: string): HawserError {
  return new HawserError("TOKEN_LIBRARY_MISSING", what, "Add module-path=FILE to the URI (after a ?), or set HAWSER_PKCS11_MODULE.");
}

function toolMissing(): HawserError {
  return new HawserError(
    "PKCS11_TOOL_MISSING",
    "pkcs11-tool is not there: keys in tokens are used through it",
    "Install OpenSC (Debian: apt-get install opensc).",
  );
}
