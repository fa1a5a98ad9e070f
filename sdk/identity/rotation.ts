/**
 * Asks the authority for a new certificate: when one is due, when somebody asks, and over the recovery rung. Holds one exchange at a time;
 * proving and committing what comes back is the supervisor's part.
 */
import { Backoff } from "../backoff.js";
import { base64Encode } from "../encoding/text.js";
import { errorCode, errorMessage } from "../errors.js";
import type { DeviceEvent } from "../events.js";
import type { MqttClient } from "../mqtt/client.js";
import type { Cancel, Platform } from "../platform.js";
import type { AnchorOffer } from "./anchor-offer.js";
import { ASKING_HOLDER, enrolmentMessage, newRequestId, readAnswer, type EnrolmentAnswer, type EnrolmentMessage } from "./enrolment.js";
import type { Enrolment } from "./enrolment-port.js";
import { enrolmentBackoff, renewAtMs } from "./renewal.js";
import type { IdentityStore } from "./store.js";
import type { TrustedTime } from "./trusted-time.js";

/** How long the authority may take to answer, milliseconds. */
const ANSWER_TIMEOUT_MS = 30_000;
/** The clock may jump while a timer runs: look again at least this often, milliseconds. */
const LOOK_EVERY_MS = 600_000;
/** A new identity that failed so many proofs while the network was there is given up. */
const MAX_FAILED_PROOFS = 3;
/** However little is left of a certificate, an authority may ask to be left alone for so long, milliseconds. */
const SHORTEST_WISH_MS = 600_000;
/** Between the authority's questions to the holder of the present certificate, milliseconds, at the least. */
const ASK_AGAIN_MS = 20_000;
/** Before a doubted identity is shown again, milliseconds, plus as much again of jitter. */
const PROVE_AGAIN_MS = 60_000;

export interface RotationParts {
  platform: Platform;
  store: IdentityStore;
  time: TrustedTime;
  /** Asked instead of the authority where it is an object; then no connection is needed for it. */
  enrolment?: boolean | Enrolment;
  emit: (event: DeviceEvent) => void;
  /** A new identity waits: connect with it. */
  prove: () => void;
}

type Reason = "due" | "asked" | "recovery";

export class Rotation {
  #client: MqttClient | undefined;
  #recovering = false;
  #asked = false;
  /** One for all tries of an enrolment: an answer that comes late is as good as one in time. */
  #requestId: string | undefined;
  #isAsking = false;
  /** On the monotonic clock: however late the wall clock says it is, a certificate just issued is not due. */
  #notDueBeforeMs = 0;
  /** Counts the beginnings and ends of exchanges, so that what an earlier one still reports is known as such. */
  #exchange = 0;
  /** The request that a client's outbox holds; false when it is given up. */
  #held: { readonly client: MqttClient; readonly isSent: Promise<boolean> } | undefined;
  #isReporting = false;
  #cancelAnswer: Cancel | undefined;
  #cancelLook: Cancel | undefined;
  /** Not before this, on the monotonic clock: the last exchange failed. */
  #notBeforeMs = 0;
  /** The certificate that jitter and backoff belong to; a new one starts both anew. */
  #serial: string | undefined;
  #jitter = 0;
  #backoff: Backoff;

  constructor(private readonly parts: RotationParts) {
    this.#backoff = this.#forCertificate();
  }

  /** The connection is usable. @param recovering it is the recovery rung: a certificate is needed now */
  online(client: MqttClient, recovering: boolean): void {
    this.#client = client;
    // What put a renewal off while there was time counts less now that there is no certificate.
    if (recovering && !this.#recovering)
      this.#notBeforeMs = Math.min(this.#notBeforeMs, this.parts.platform.clock.monotonicMs() + SHORTEST_WISH_MS);
    this.#recovering = recovering;
    const active = this.parts.store.active?.certificate;
    if (this.#serial !== active?.serial) {
      const lifetimeMs = active ? active.notAfterMs - active.notBeforeMs : 0;
      if (this.#serial !== undefined) this.#notDueBeforeMs = this.parts.platform.clock.monotonicMs() + Math.min(3_600_000, lifetimeMs / 20);
      this.#backoff = this.#forCertificate();
    }
    this.#look();
  }

  /** Something is under way that a device should stay awake for: a request, a proof or a report. What was put off does not count. */
  get isBusy(): boolean {
    const { store, platform } = this.parts;
    const isPutOff = this.#notBeforeMs > platform.clock.monotonicMs();
    return this.#isAsking || this.#isReporting || (store.pending !== undefined && !isPutOff);
  }

  offline(): void {
    this.#client = undefined;
    this.#endExchange();
    this.#cancelLook?.();
  }

  /** Asks for a new certificate now, or as soon as there is a connection. */
  renew(): void {
    this.#asked = true;
    this.#notBeforeMs = 0;
    this.#look();
  }

  /** The proof of the pending identity failed while the network was there. */
  failedProof(message: string): void {
    const { store, platform, emit } = this.parts;
    const pending = store.pending;
    if (!pending) return;
    try {
      if (store.countFailedProof() >= MAX_FAILED_PROOFS) {
        emit({ type: "identity-dropped", serial: pending.certificate.serial, code: "CERTIFICATE_REJECTED", message });
        store.drop();
        this.dropped();
      } else {
        this.#postpone(PROVE_AGAIN_MS * (1 + platform.random.fraction()));
      }
    } catch (error) {
      platform.log("error", "a failed proof could not be counted", { error: errorMessage(error) });
      this.#postpone(this.#backoff.next(PROVE_AGAIN_MS));
    }
  }

  /** The pending identity was given up: do not ask for another at once. */
  dropped(): void {
    this.#postpone(this.#backoff.next());
  }

  /** An answer of the authority arrived; one that nobody waits for is ignored. */
  answer(payload: Uint8Array): void {
    let answer: EnrolmentAnswer;
    try {
      answer = readAnswer(payload);
    } catch (error) {
      this.parts.platform.log("warn", "an unreadable answer was ignored", { error: errorMessage(error) });
      return;
    }
    this.#take(answer);
  }

  #take(answer: EnrolmentAnswer): void {
    if (answer.requestId !== this.#requestId || this.parts.store.enrolling === undefined) return this.#object(answer);
    this.#endExchange();
    const { store, platform, enrolment } = this.parts;
    try {
      if ("error" in answer) {
        const { code, message, retryAfterSeconds = 0 } = answer.error;
        // What was issued for this key was revoked before it arrived: it is never signed again, another one is.
        if (code === "BAD_REQUEST") {
          store.drop();
          this.#requestId = undefined;
        }
        return this.#failed(code, message, retryAfterSeconds * 1_000);
      }
      const chains = (enrolment as Partial<Enrolment> | undefined)?.chains ?? platform.chains;
      if (answer.offer) this.#takeAnchors(answer.offer);
      // Its dates move no clock before a broker has accepted it: whoever may publish answers could set them.
      const pending = store.storePending(answer.chain, chains, newRequestId(platform.random), answer.saltProof, answer.topics);
      this.#asked = false;
      this.#requestId = undefined;
      this.parts.emit({ type: "pending", serial: pending.certificate.serial });
      this.parts.prove();
    } catch (error) {
      this.#failed(errorCode(error), errorMessage(error), 0);
    }
  }

  /** Somebody who does not show this device's key asks for a certificate of its name: that must not cost it the present one. */
  #object(answer: EnrolmentAnswer): void {
    if ("error" in answer && answer.error.code === ASKING_HOLDER && this.#client)
      void this.#send(this.#client, { type: "in-use", requestId: answer.requestId }).catch(() => undefined);
  }

  /** QoS 1, so that the broker keeps it for an authority that is just restarting. */
  #send(client: MqttClient, message: EnrolmentMessage, properties = {}): Promise<unknown> {
    const { store, platform } = this.parts;
    return client.publish(`${store.identityBase}/request`, enrolmentMessage(message, platform.keyStore, store.active), {
      qos: 1,
      persist: false,
      beyondBounds: true,
      properties,
    });
  }

  /** A certificate is worth having even where the anchors that came with it are not. */
  #takeAnchors(offer: AnchorOffer): void {
    const { store, platform, emit } = this.parts;
    try {
      const added = store.takeAnchors(offer, platform.chains);
      if (added.length > 0) emit({ type: "anchors-changed", added, removed: [] });
    } catch (error) {
      emit({ type: "anchors-refused", code: errorCode(error), message: errorMessage(error) });
    }
  }

  /** Decides whether to ask now, and sets the time to look again. */
  #look(): void {
    const { store, platform, time } = this.parts;
    this.#cancelLook?.();
    const client = this.#client;
    if (!client || this.#isAsking) return;
    if (!this.#recovering && store.unreported) void this.#report(client);
    const nowMs = platform.clock.monotonicMs();
    const heldMs = Math.max(0, this.#notBeforeMs - nowMs);
    const active = store.active;
    const dueMs = active ? Math.max(renewAtMs(active.certificate, this.#jitter) - time.nowMs(), this.#notDueBeforeMs - nowMs) : 0;
    // An enrolment or a proof that a reboot or a failure interrupted goes on.
    const unfinished = store.pending !== undefined || store.enrolling !== undefined;
    const reason: Reason | undefined = this.#recovering ? "recovery" : this.#asked || unfinished ? "asked" : dueMs <= 0 ? "due" : undefined;
    if (reason !== undefined && heldMs === 0) {
      if (store.pending) this.parts.prove();
      else void this.#ask(client, reason);
      return;
    }
    const delayMs = Math.min(LOOK_EVERY_MS, reason === undefined ? Math.max(heldMs, dueMs) : heldMs);
    this.#cancelLook = platform.scheduler.after(Math.max(1, Math.ceil(delayMs)), () => this.#look());
  }

  async #ask(client: MqttClient, reason: Reason): Promise<void> {
    const { platform, store, emit, enrolment } = this.parts;
    const exchange = ++this.#exchange;
    this.#isAsking = true;
    const requestId = (this.#requestId ??= newRequestId(platform.random));
    emit({ type: "renewing", reason });
    try {
      const slot = store.beginEnrolment();
      const csr = platform.keyStore.csr(slot, store.device.id);
      this.#cancelAnswer = platform.scheduler.after(ANSWER_TIMEOUT_MS, () => {
        this.#endExchange();
        this.#failed("NO_ANSWER", "the authority did not answer in time", 0);
      });
      if (typeof enrolment === "object") {
        const reply = await enrolment.request(csr, store.active);
        // After a stop nobody waits for it: the next start asks again, for the same key.
        return this.#client && this.#take({ ...reply, requestId });
      }
      // What the outbox still holds goes again by itself: a broker that ends each connection for it would else be sent one more each time.
      if (this.#held?.client === client && (await this.#held.isSent)) return;
      if (exchange !== this.#exchange) return;
      const request = { type: "enrol", requestId, csr: base64Encode(csr), anchors: store.anchorSerials } as const;
      // Not kept for longer than the answer is waited for.
      await this.#hold(client, this.#send(client, request, { messageExpiryInterval: ANSWER_TIMEOUT_MS / 1_000 }));
    } catch (error) {
      // Over already: answered, timed out, or the connection ended. But a broker that ends it for the request is not asked again at once.
      if (exchange !== this.#exchange && errorCode(error) !== "BROKER_HANGS_UP") return;
      this.#endExchange();
      this.#failed(errorCode(error), errorMessage(error), 0);
    }
  }

  /** Remembers a request until it is delivered or given up. */
  #hold(client: MqttClient, sent: Promise<unknown>): Promise<unknown> {
    const over = (isSent: boolean): boolean => {
      if (this.#held === held) this.#held = undefined;
      return isSent;
    };
    const held = {
      client,
      isSent: sent.then(
        () => over(true),
        () => over(false),
      ),
    };
    this.#held = held;
    return sent;
  }

  async #report(client: MqttClient): Promise<void> {
    const { store, platform } = this.parts;
    const serial = store.active?.certificate.serial;
    if (serial === undefined || this.#isReporting || typeof this.parts.enrolment === "object") return;
    this.#isReporting = true;
    try {
      await this.#send(client, { type: "active", serial, ...store.toldSalt });
      if (store.active?.certificate.serial === serial) store.markReported();
    } catch (error) {
      // It is sent again with the next connection, or in an hour at the latest. It needs no flash of its own: `unreported` is its memory.
      platform.log("debug", "a report was not delivered", { code: errorCode(error) });
    } finally {
      this.#isReporting = false;
    }
    // Renewed again meanwhile: the newer one is to be reported as well.
    if (store.active?.certificate.serial !== serial) this.#look();
  }

  #failed(code: string, message: string, askedMs: number): void {
    const wishMs = Math.min(askedMs, this.#longestWishMs);
    // A question that nobody may answer is no failure: however often this device was refused before, it comes back for the outcome.
    const retryMs = code === ASKING_HOLDER ? Math.max(wishMs, ASK_AGAIN_MS) : this.#backoff.next(wishMs);
    this.parts.emit({ type: "renewal-failed", code, message, retryMs });
    this.#postpone(retryMs);
  }

  /** No answer puts a renewal off for longer: whoever may publish answers could else let the certificate run out. */
  get #longestWishMs(): number {
    const { store, time } = this.parts;
    const leftMs = store.active ? store.active.certificate.notAfterMs - time.nowMs() : 0;
    return Math.max(SHORTEST_WISH_MS, leftMs / 10);
  }

  #postpone(delayMs: number): void {
    this.#notBeforeMs = this.parts.platform.clock.monotonicMs() + delayMs;
    this.#look();
  }

  #forCertificate(): Backoff {
    const { store, platform } = this.parts;
    const certificate = store.active?.certificate;
    this.#serial = certificate?.serial;
    this.#jitter = platform.random.fraction();
    return new Backoff(enrolmentBackoff(certificate), () => platform.random.fraction());
  }

  #endExchange(): void {
    this.#isAsking = false;
    this.#exchange++;
    this.#cancelAnswer?.();
    this.#cancelAnswer = undefined;
  }
}
