/** Deliberate faults in what may cost a device its credential: evidence, patience, recovery, time, trust. */
import type { Mutation } from "./mutation.js";

const RECOVERABLE = { recoverable: true, bare: false } as const;
const HICCUP = { kind: "world", faults: ["backend-hiccup", "backend-away"], traits: { device: { ...RECOVERABLE, usesLogin: false } } } as const;
const ATTACKED = { kind: "world", faults: ["man-in-the-middle"], traits: { world: { tlsVersion: "TLSv1.3" }, device: RECOVERABLE } } as const;

export const CREDENTIAL_MUTATIONS: readonly Mutation[] = [
  {
    name: "a refusal that may be the broker's own fault counts as a verdict",
    file: "sdk/supervisor/evidence.ts",
    find: '? "verdict" : "refusal";',
    replace: '? "verdict" : "verdict";',
    invariants: ["left-too-soon"],
    stage: HICCUP,
  },
  {
    name: "refusals need not last",
    file: "sdk/supervisor/credential-ladder.ts",
    find: "minimumMs + fraction() * (maximumMs - minimumMs)) || this.#isCondemned",
    replace: "0) || this.#isCondemned",
    invariants: ["left-too-soon"],
    stage: HICCUP,
  },
  {
    name: "a wrong broker's clock is believed at once",
    file: "sdk/supervisor/credential-ladder.ts",
    find: 'case "refusal":\n        return',
    replace: 'case "refusal":\n        return true ||',
    invariants: ["left-too-soon"],
    stage: { kind: "world", faults: ["broker-clock-wrong"], traits: { world: { tlsVersion: "TLSv1.3" }, device: RECOVERABLE } },
  },
  {
    name: "a refused password leads to PSK",
    file: "sdk/supervisor/evidence.ts",
    find: "if (usesLogin && LOGIN_REFUSALS.has(given.code))",
    replace: "if (usesLogin && given.code === \"BANNED\")",
    invariants: ["rung-without-reason", "psk-on-network-fault", "left-too-soon"],
    stage: { kind: "world", faults: ["backend-away"], traits: { device: { ...RECOVERABLE, usesLogin: true } } },
  },
  {
    name: "a device that nobody answers over PSK stays there",
    file: "sdk/supervisor/credential-ladder.ts",
    find: 'if (this.#rung !== "psk" || !holdings.active) return [];',
    replace: "if (holdings.active) return [];",
    invariants: ["not-back-online"],
    stage: { kind: "world", faults: ["recovery-unanswered"], traits: { world: { tlsVersion: "TLSv1.3", lifetimeMs: 2_592_000_000 }, device: RECOVERABLE } },
  },
  {
    name: "an alert that anybody could have sent is believed",
    file: "sdk/failure.ts",
    find: 'if (isProtected || shown !== "certificate") return',
    replace: "if (shown.length > 0) return",
    invariants: ["rung-without-reason", "psk-on-network-fault", "left-too-soon"],
    stage: ATTACKED,
  },
  {
    name: "a reset counts as a verdict when the wall clock says that the certificate has ended",
    file: "sdk/supervisor/evidence.ts",
    find: '? "suspicion" : "none";',
    replace: '? "verdict" : "none";',
    invariants: ["rung-without-reason", "psk-on-network-fault", "left-too-soon"],
    stage: ATTACKED,
  },
  {
    name: "the stored time moves with the wall clock",
    file: "sdk/identity/trusted-time.ts",
    find: "const provedMs = Math.min(this.provedMs(), latestMs);",
    replace: "const provedMs = Math.min(this.nowMs(), latestMs);",
    invariants: ["time-moved"],
    stage: { kind: "world", faults: ["man-in-the-middle", "clock-jump", "power-cut"], traits: { device: RECOVERABLE }, days: 2 },
  },
  {
    name: "an answer is stored whoever has signed it",
    file: "sdk/identity/store.ts",
    find: "if (!chains.leadsTo(",
    replace: "if (this.device.id === \"\" && !chains.leadsTo(",
    invariants: ["untrusted-certificate"],
    stage: { kind: "world", faults: ["answers-forged"], traits: { device: RECOVERABLE } },
  },
  {
    name: "a pending certificate moves the trusted time",
    file: "sdk/identity/rotation.ts",
    find: "      this.#asked = false;\n      this.#requestId = undefined;",
    replace: "      this.parts.time.atLeast(pending.certificate.notBeforeMs);\n      this.#asked = false;\n      this.#requestId = undefined;",
    invariants: ["not-back-online", "rung-without-reason", "psk-on-network-fault"],
    stage: { kind: "world", faults: ["authority-clock-wrong", "renewal-asked"], traits: { device: RECOVERABLE } },
  },
  {
    name: "an answer may put a renewal off for as long as it likes",
    file: "sdk/identity/rotation.ts",
    find: "this.#backoff.next(Math.min(askedMs, this.#longestWishMs))",
    replace: "this.#backoff.next(askedMs)",
    invariants: ["stranded", "not-back-online"],
    stage: { kind: "world", faults: ["answers-forged", "authority-down"], days: 1, traits: { world: { lifetimeMs: 21_600_000, tlsVersion: "TLSv1.3" }, device: RECOVERABLE } },
  },
];
