/**
 * The device's half of the factory protocol: bytes in, bytes out, no IO of its own. Every step can be repeated, and whatever is cut off is
 * begun again with `hello`: until the identity is installed, whose last write decides, the device is empty and keeps its key.
 *
 * A device that has an identity gives no other away and takes no other: it answers what it is, which is no secret, and refuses the rest.
 * Whoever wants to provision it again erases its flash.
 */
import { base64Encode } from "../encoding/text.js";
import { errorCode, errorMessage, HawserError } from "../errors.js";
import { readCertificate } from "../identity/certificate.js";
import { IdentityStore, installIdentity, keySlot, PSK_SLOT } from "../identity/store.js";
import type { KeyStore, Storage } from "../platform.js";
import { encodeFrame, FrameDecoder } from "./frames.js";
import { PROTOCOL_VERSION, proofInput, readRequest, requestIdOf } from "./messages.js";
import type { BoardFacts, GenerateAnswer, InstallRequest, ProvisioningRequest, RefusalAnswer, StatusAnswer } from "./messages.js";
import { answerPayload, PART_BYTES, PART_HEADER_BYTES, RequestAssembler } from "./parts.js";

export interface AgentParts {
  storage: Storage;
  keyStore: KeyStore;
  /** Sends bytes to the station. */
  write(bytes: Uint8Array): void;
  /** A time known to have passed, milliseconds since the Unix epoch: the build's, at least. No certificate may have ended by then. */
  knownTimeMs(): number;
  /** The station has read back what it installed, and is done with this device. */
  onDone(): void;
  /** What this board says about itself in every status. Left out, a station knows it by its key alone. */
  board?: BoardFacts;
}

type Answer = StatusAnswer | GenerateAnswer | RefusalAnswer | Record<string, never>;

const FIRST_KEY = keySlot("a");

/** True once the device has been given its identity; what it then takes from a serial line is nothing. */
export function isProvisioned(storage: Storage): boolean {
  return storage.get("identity") !== undefined;
}

export class ProvisioningAgent {
  readonly #parts: AgentParts;
  readonly #frames = new FrameDecoder(PART_HEADER_BYTES + PART_BYTES);
  readonly #requests = new RequestAssembler();
  #nonce: Uint8Array | undefined;
  /** The last request that was done, so that one whose answer was lost gets the same again. */
  #done: { requestId: string; payload: Uint8Array } = { requestId: "", payload: new Uint8Array(0) };

  constructor(parts: AgentParts) {
    this.#parts = parts;
  }

  /** Takes what the line brought, in any pieces. Never throws for what is in it. */
  receive(bytes: Uint8Array): void {
    for (const frame of this.#frames.feed(bytes)) {
      const taken = "payload" in frame ? this.#requests.take(frame.payload) : undefined;
      if (taken === undefined) continue;
      if ("reply" in taken) this.#send(taken.reply);
      else this.#answer(taken.request);
    }
  }

  #answer(bytes: Uint8Array): void {
    let request: ProvisioningRequest;
    try {
      request = readRequest(bytes);
    } catch (error) {
      return this.#refuse(requestIdOf(bytes), error);
    }
    const { requestId, type } = request;
    if (requestId !== this.#done.requestId) {
      try {
        this.#done = { requestId, payload: this.#payload(requestId, this.#perform(request)) };
      } catch (error) {
        return this.#refuse(requestId, error);
      }
    }
    this.#send(this.#done.payload);
    if (type === "done") this.#parts.onDone();
  }

  #perform(request: ProvisioningRequest): Answer {
    if (request.type === "hello") this.#nonce = request.nonce;
    const nonce = this.#nonce;
    if (nonce === undefined) throw wrongState("the device has started since the last hello");
    switch (request.type) {
      case "generate":
        return this.#generate(request.id, request.replace, nonce);
      case "install":
        this.#install(request);
        return this.#status(nonce);
      case "done":
        if (!isProvisioned(this.#parts.storage)) throw wrongState("the device has no identity yet");
        return {};
      default:
        return this.#status(nonce);
    }
  }

  #status(nonce: Uint8Array): StatusAnswer {
    const { storage, keyStore } = this.#parts;
    const { mac, firmware } = this.#parts.board ?? {};
    const board = { ...(mac !== undefined && { mac }), ...(firmware !== undefined && { firmware }) };
    if (!isProvisioned(storage)) return { state: "empty", ...board };
    const { device, active } = IdentityStore.load(storage, keyStore);
    const { id, role } = device;
    if (active === undefined || !keyStore.has(active.keySlot)) return { state: "provisioned", id, role, ...board };
    const { serial, publicKey } = active.certificate;
    return {
      state: "provisioned",
      id,
      role,
      serial,
      publicKey: base64Encode(publicKey),
      proof: this.#proof(active.keySlot, nonce),
      ...board,
    };
  }

  #generate(id: string, replace: boolean, nonce: Uint8Array): GenerateAnswer {
    const { storage, keyStore } = this.#parts;
    if (isProvisioned(storage)) throw alreadyProvisioned();
    if (replace || !keyStore.has(FIRST_KEY)) keyStore.generate(FIRST_KEY);
    return { csr: base64Encode(keyStore.csr(FIRST_KEY, id)), proof: this.#proof(FIRST_KEY, nonce) };
  }

  #install({ id, role, chain, trustAnchors, psk, topics }: InstallRequest): void {
    const { storage, keyStore } = this.#parts;
    if (isProvisioned(storage)) {
      if (this.#has(id, chain)) return;
      throw alreadyProvisioned();
    }
    const leaf = readCertificate(chain[0] ?? new Uint8Array());
    if (!(leaf.notBeforeMs < leaf.notAfterMs && this.#parts.knownTimeMs() < leaf.notAfterMs)) {
      throw new HawserError(
        "BAD_CERTIFICATE",
        "the certificate expired before this firmware was built, or before it became valid",
        "Set the station's clock.",
      );
    }
    // Should the certificate be refused below, the key stays behind: without an identity that names it, nobody uses it.
    if (psk) {
      keyStore.importPsk(PSK_SLOT, psk.key);
      psk.key.fill(0);
    }
    installIdentity(storage, keyStore, { id, role, chain, trustAnchors, topics, ...(psk && { pskIdentity: psk.identity }) });
  }

  /** What is to be installed is what is there: its answer was lost. */
  #has(id: string, chain: readonly Uint8Array[]): boolean {
    const { device, active } = IdentityStore.load(this.#parts.storage, this.#parts.keyStore);
    return device.id === id && sameBytes(active?.chain[0], chain[0]);
  }

  #proof(slot: string, nonce: Uint8Array): string {
    return base64Encode(this.#parts.keyStore.sign(slot, proofInput(nonce)));
  }

  #refuse(requestId: string, error: unknown): void {
    this.#send(this.#payload(requestId, { error: { code: errorCode(error), message: errorMessage(error).slice(0, 200) } }));
  }

  #payload(requestId: string, answer: Answer): Uint8Array {
    return answerPayload({ v: PROTOCOL_VERSION, requestId, ...answer });
  }

  #send(payload: Uint8Array): void {
    this.#parts.write(encodeFrame(payload));
  }
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && a.length === b?.length && a.every((byte, index) => byte === b[index]);
}

function wrongState(what: string): HawserError {
  return new HawserError("WRONG_STATE", what, "Start again with hello.");
}

function alreadyProvisioned(): HawserError {
  return new HawserError("ALREADY_PROVISIONED", "this device already has an identity", "To provision it again, erase its flash first.");
}
