/**
 * The enrolment authority's decisions, without any IO of its own: the topic and bytes of one message in, what to answer and what to tell
 * the operator out. Who asks is told by the topic alone: the broker lets only the device itself publish there.
 */
import { errorCode, errorMessage, HawserError } from "../../sdk/errors.js";
import type { AnchorOffer } from "../../sdk/identity/anchor-offer.js";
import type { DeviceTopics } from "../../sdk/identity/device-topics.js";
import type { ToldSalt } from "../../sdk/identity/psk-salt.js";
import { HolderQuestions } from "./holder-questions.js";
import type { Finding } from "./holder-questions.js";
import { askingDevice, DEFAULT_IDENTITY_BASE, responseTopic } from "../policy/identity-topics.js";
import type { AskingDevice } from "../policy/identity-topics.js";
import { certificateAnswer, readMessage, refusalAnswer } from "./enrolment-messages.js";
import type { ActiveReport, EnrolRequest, Objection, RefusalCode } from "./enrolment-messages.js";
import type { RateLimiter } from "./rate-limiter.js";

export interface IssuedForDevice {
  /** Leaf first, then the issuing CA; DER. */
  readonly chain: readonly Uint8Array[];
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  /** True when the same request had been answered before and this is that certificate again. */
  readonly repeated: boolean;
  /** Where the device's trust anchors are not those of now. */
  readonly offer?: AnchorOffer;
  /** Shows the device which salt its pre-shared key has. */
  readonly saltProof?: string;
  /** Where the device's topics are. */
  readonly topics?: DeviceTopics | undefined;
}

/** Who asks for a certificate, as far as it is known. */
export interface Asker {
  /** Serials of the trust anchors that the device has, where it says so. */
  readonly anchors?: readonly string[];
  /** SHA-256 of the key that signed the request: of the present certificate, where its holder asks. */
  readonly signedBy?: string;
  /** The holder of the present certificate was asked whether it is in use, and did not say so. */
  readonly holderIsSilent: boolean;
}

/** What the authority needs of a CA. Each call has recorded what it did before it resolves. */
export interface EnrolmentCa {
  /**
   * Issues for a device after checking its request against the registry.
   * @param arrivedAtMs when the request came, milliseconds since the epoch: what the name lost since then it cannot be based on
   * @throws HawserError `BAD_REQUEST`, `BAD_SIGNATURE`, `WRONG_SUBJECT`, `UNKNOWN_DEVICE`, `DEVICE_REVOKED`, `RATE_LIMITED`,
   *   `STALE_REQUEST` or `ASKING_HOLDER` (the name has a certificate whose key did not sign, and whose holder was not asked); anything
   *   else is the CA's own trouble
   */
  issueFromCsr(id: string, csr: Uint8Array, arrivedAtMs: number, asker: Asker): Promise<IssuedForDevice>;
  /**
   * Revokes, as superseded, what the device held before `activeSerial`, whose key signed the report, and changes its pre-shared key where
   * the device tells a new salt. Puts it on record where the device speaks to the authority. Resolves with the serials retired now.
   */
  retireOlder(
    id: string,
    activeSerial: string,
    report: { readonly signedBy: string; readonly salt?: ToldSalt; readonly identityBase: string },
  ): Promise<readonly string[]>;
  /**
   * Puts it on record that the holder of a name's certificate, whose key is `signedBy`, objected to another's request.
   * @returns the certificate's serial
   * @throws HawserError `UNKNOWN_CERTIFICATE`: that key has none that is good
   */
  recordObjection(id: string, signedBy: string): Promise<string>;
  /** Where the policy lets the device ask, so where the holder of its certificate may listen. */
  identityBasesOf(id: string): Promise<readonly string[]>;
}

export type AuthorityEvent =
  | { readonly event: "issued"; readonly id: string; readonly requestId: string; readonly serial: string; readonly repeated: boolean }
  | { readonly event: "refused"; readonly id: string; readonly requestId: string; readonly code: RefusalCode; readonly reason: string }
  /** The holder of certificate `serial` says that it is in use: another's request for that name is refused. */
  | { readonly event: "in-use"; readonly id: string; readonly requestId: string; readonly serial: string }
  | { readonly event: "active"; readonly id: string; readonly serial: string; readonly retired: readonly string[] }
  | { readonly event: "ignored"; readonly id: string; readonly reason: string }
  | { readonly event: "failed"; readonly id: string; readonly code: string; readonly reason: string };

export interface Outcome {
  readonly event: AuthorityEvent;
  /** To be published at QoS 1. */
  readonly answer?: { readonly topic: string; readonly payload: Uint8Array; readonly alsoTo?: readonly string[] };
}

const REFUSALS: ReadonlySet<string> = new Set<RefusalCode>([
  "BAD_REQUEST",
  "BAD_SIGNATURE",
  "WRONG_SUBJECT",
  "UNKNOWN_DEVICE",
  "DEVICE_REVOKED",
]);

/** What a device waits before it asks again after trouble on this side. */
const RETRY_AFTER_SECONDS = 30;

/**
 * The registry says that a device has had its share of this hour: a service that was started again has forgotten what it counted itself.
 */
const RATE_LIMITED_SECONDS = 900;
/** The device's request is from before a revocation or replacement: asked again, it is judged by what is now. */
const STALE_SECONDS = 1;

export class EnrolmentAuthority {
  /** @param heardAll whether everything that a holder may have said until now was heard: only then silence counts */
  constructor(
    private readonly ca: EnrolmentCa,
    private readonly limiter: RateLimiter,
    private readonly questions = new HolderQuestions(() => performance.now()),
    private readonly bases: () => readonly string[] = () => [DEFAULT_IDENTITY_BASE],
    private readonly heardAll: () => Promise<boolean> = () => Promise.resolve(true),
  ) {}

  /**
   * Deals with one message. Never rejects: trouble is an outcome too.
   *
   * @param arrivedAtMs milliseconds since the epoch
   */
  async handle(topic: string, payload: Uint8Array, arrivedAtMs: number): Promise<Outcome> {
    const device = askingDevice(topic, this.bases());
    if (device === undefined) return { event: { event: "ignored", id: "", reason: "the topic is not a device's request topic" } };
    const message = readMessage(payload);
    const { id } = device;
    if (message.type === "enrol") return this.#enrol(device, message, arrivedAtMs);
    if (message.type === "active") return this.#activate(device, message);
    if (message.type === "in-use") return this.#object(device, message);
    if (message.requestId === undefined) return { event: { event: "ignored", id, reason: message.reason } };
    const waitSeconds = this.limiter.take(id);
    if (waitSeconds > 0) return refuse(device, message.requestId, "RATE_LIMITED", TOO_MANY, waitSeconds);
    return refuse(device, message.requestId, "BAD_REQUEST", message.reason);
  }

  /** A message of this device stayed unread: it may have been an objection, so silence means nothing. */
  missed(id: string): void {
    this.questions.forget(id);
  }

  /** Messages of any device may have stayed unread. */
  missedSome(): void {
    this.questions.forgetAll();
  }

  /** Puts off a request without any work: one from before this service was there, or one too many. The device asks again. */
  putOff(topic: string, payload: Uint8Array, reason: string, retryAfterSeconds: number): Outcome {
    const device = askingDevice(topic, this.bases());
    const message = readMessage(payload);
    if (device === undefined || message.type !== "enrol") return { event: { event: "ignored", id: device?.id ?? "", reason } };
    return refuse(device, message.requestId, "TRY_LATER", reason, retryAfterSeconds);
  }

  async #enrol(device: AskingDevice, request: EnrolRequest, arrivedAtMs: number): Promise<Outcome> {
    const { id } = device;
    const waitSeconds = this.limiter.take(id);
    if (waitSeconds > 0) return refuse(device, request.requestId, "RATE_LIMITED", TOO_MANY, waitSeconds);
    try {
      const issued = await this.#issue(device, request, arrivedAtMs);
      if ("event" in issued) return issued;
      if (issued.repeated) this.limiter.giveBack(id);
      return {
        event: { event: "issued", id, requestId: request.requestId, serial: issued.serial, repeated: issued.repeated },
        answer: { topic: responseTopic(device.base, id), payload: certificateAnswer(request.requestId, issued) },
      };
    } catch (error) {
      if (error instanceof HawserError && error.code === "RATE_LIMITED")
        return refuse(device, request.requestId, "RATE_LIMITED", TOO_MANY, RATE_LIMITED_SECONDS);
      if (error instanceof HawserError && error.code === "STALE_REQUEST")
        return refuse(device, request.requestId, "TRY_LATER", error.message, STALE_SECONDS);
      if (error instanceof HawserError && REFUSALS.has(error.code))
        return refuse(device, request.requestId, error.code as RefusalCode, error.message);
      // The CA's own trouble is told to the operator; a device learns only that it should come back.
      this.limiter.giveBack(id);
      return {
        event: { event: "failed", id, code: errorCode(error), reason: errorMessage(error) },
        answer: {
          topic: responseTopic(device.base, id),
          payload: refusalAnswer(request.requestId, "TRY_LATER", "the authority cannot issue now", RETRY_AFTER_SECONDS),
        },
      };
    }
  }

  /** A request that the present certificate's key did not sign may cost its holder that certificate: the holder is asked first. */
  async #issue(device: AskingDevice, request: EnrolRequest, arrivedAtMs: number): Promise<IssuedForDevice | Outcome> {
    const { id } = device;
    const { csr, requestId, anchors, signedBy } = request;
    const asker = { ...(anchors && { anchors }), ...(signedBy !== undefined && { signedBy }) };
    try {
      return await this.ca.issueFromCsr(id, csr, arrivedAtMs, { ...asker, holderIsSilent: false });
    } catch (error) {
      if (errorCode(error) !== "ASKING_HOLDER") throw error;
    }
    const finding = await this.#finding(id, requestId);
    if (finding.kind === "ask") return this.#askHolder(device, refuse(device, requestId, "ASKING_HOLDER", ASKING, finding.seconds));
    if (finding.kind === "wait") return refuse(device, requestId, "TRY_LATER", ASKING, finding.seconds);
    if (finding.kind === "in-use") return refuse(device, requestId, "IN_USE", IN_USE, finding.seconds);
    const issued = await this.ca.issueFromCsr(id, csr, arrivedAtMs, { ...asker, holderIsSilent: true });
    this.questions.forget(id);
    return issued;
  }

  async #finding(id: string, requestId: string): Promise<Finding> {
    const finding = this.questions.about(id, requestId);
    if (finding.kind !== "silent") return finding;
    if (!(await this.heardAll())) return { kind: "wait", seconds: RETRY_AFTER_SECONDS };
    return this.questions.about(id, requestId);
  }

  /** While the identity's topics are being moved, who asks and who holds the certificate may be at different places. */
  async #askHolder({ id, base }: AskingDevice, outcome: Outcome): Promise<Outcome> {
    const others = (await this.ca.identityBasesOf(id)).filter((other) => other !== base);
    return outcome.answer === undefined || others.length === 0
      ? outcome
      : { ...outcome, answer: { ...outcome.answer, alsoTo: others.map((other) => responseTopic(other, id)) } };
  }

  /** Takes no token: one message alone is worth work, and only while a question is open. */
  async #object(device: AskingDevice, { requestId, signedBy }: Objection): Promise<Outcome> {
    const { id } = device;
    if (!this.questions.isOpen(id, requestId)) return { event: { event: "ignored", id, reason: "nobody was asked about that request" } };
    if (signedBy === undefined) return { event: { event: "ignored", id, reason: "the objection proves no key" } };
    try {
      const serial = await this.ca.recordObjection(id, signedBy);
      const { answer } = refuse(device, requestId, "IN_USE", IN_USE, this.questions.object(id));
      return { event: { event: "in-use", id, requestId, serial }, ...(answer && { answer }) };
    } catch (error) {
      // It may have been the holder's, and is lost: begin again.
      if (errorCode(error) !== "UNKNOWN_CERTIFICATE") this.questions.forget(id);
      return { event: { event: "failed", id, code: errorCode(error), reason: errorMessage(error) } };
    }
  }

  // Reports take no token: one without effect costs a look into the registry, and those with effect are as few as the certificates issued.
  async #activate({ id, base }: AskingDevice, report: ActiveReport): Promise<Outcome> {
    // Whoever has the pre-shared key could else retire the certificate in use as soon as a newer one is issued.
    const { serial, salt, signedBy } = report;
    if (signedBy === undefined) return { event: { event: "ignored", id, reason: "the report of a certificate is not signed by its key" } };
    try {
      const retired = await this.ca.retireOlder(id, serial, { signedBy, ...(salt && { salt }), identityBase: base });
      return { event: { event: "active", id, serial, retired } };
    } catch (error) {
      return { event: { event: "failed", id, code: errorCode(error), reason: errorMessage(error) } };
    }
  }
}

const ASKING = "the holder of the present certificate is asked whether it is in use";
const IN_USE = "the present certificate is in use elsewhere";
const TOO_MANY = "too many requests of this device";

function refuse({ id, base }: AskingDevice, requestId: string, code: RefusalCode, reason: string, retryAfterSeconds?: number): Outcome {
  return {
    event: { event: "refused", id, requestId, code, reason },
    answer: { topic: responseTopic(base, id), payload: refusalAnswer(requestId, code, reason, retryAfterSeconds) },
  };
}
