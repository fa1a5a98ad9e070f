/**
 * One of several authorities that serve one broker. It has two connections. By one it hears what every device reports and objects, as each
 * of the others does. By the other it takes its share of the requests, and only while the first one works: who does not hear objections
 * must not take silence for consent.
 */
import type { HawserError } from "../../sdk/errors.js";
import type { Endpoint } from "../../sdk/platform.js";
import type { EnrolmentAuthority } from "./enrolment-authority.js";
import { AuthorityService } from "./service.js";
import type { ServiceEvent, ServiceIdentity, TopicSource } from "./service.js";

export interface SharedPart {
  readonly identity: ServiceIdentity;
  readonly issueOwn: () => Promise<ServiceIdentity>;
}

export interface SharedServiceOptions {
  readonly endpoint: Endpoint;
  readonly authority: EnrolmentAuthority;
  readonly topics: TopicSource;
  /** Of the shared subscription: the same for all of them, and known to nobody else. */
  readonly group: string;
  readonly reports: SharedPart;
  readonly requests: SharedPart;
  /** Why this authority cannot issue now; undefined where it can. */
  readonly problem: () => Promise<HawserError | undefined>;
  readonly onEvent: (event: SharedServiceEvent) => void;
}

export type SharedServiceEvent =
  | ServiceEvent
  /** This authority takes no requests for now, so that the others get them all. */
  | { readonly event: "resting"; readonly code: string; readonly reason: string };

/** How long others have all the requests before this authority looks again whether it can issue. */
const REST_MS = 10_000;
/** How long until a mark that did not come back is sent again: the broker may not have its rights yet. */
const AGAIN_MS = 1_000;
/** Codes of what is wrong with the CA as a whole, and not with one request. */
const OF_THE_CA = /^(?:CA|CLOCK|ISSUER|PASSPHRASE|POSTGRES|REGISTRY|STORAGE)_/;

export class SharedService {
  readonly #options: SharedServiceOptions;
  readonly #reports: AuthorityService;
  #requestsIdentity: ServiceIdentity;
  #isHearing = false;
  #trouble: { readonly code: string; readonly reason: string } | undefined;
  #isStopping = false;
  #running: Promise<void> | undefined;
  #look: () => void = () => undefined;
  #wake: () => void = () => undefined;

  constructor(options: SharedServiceOptions) {
    const { endpoint, authority, topics, reports } = options;
    this.#options = options;
    this.#requestsIdentity = options.requests.identity;
    const onEvent = (event: ServiceEvent): void => this.#ofReports(event);
    this.#reports = new AuthorityService({ endpoint, authority, topics, ...reports, part: { kind: "reports" }, onEvent });
  }

  /** Begins to connect and keeps connected until {@link stop}. */
  start(): void {
    if (this.#running !== undefined) return;
    this.#reports.start();
    this.#running = this.#run();
  }

  /** Finishes the request at hand, sends its answer and disconnects. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#look();
    this.#wake();
    await this.#running;
    await this.#reports.stop();
  }

  /** Whether all that holders may have said until now is heard. */
  caughtUp(): Promise<boolean> {
    return this.#reports.caughtUp();
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      await this.#until(() => this.#isHearing || this.#isStopping);
      // That its own mark comes back also shows that the broker has its rights: without them, its share of the requests would be lost.
      if (!(await this.caughtUp())) {
        await this.#pause(AGAIN_MS);
        continue;
      }
      const problem = await this.#options.problem();
      this.#trouble = problem === undefined ? undefined : { code: problem.code, reason: problem.message };
      if (this.#trouble === undefined) await this.#takeRequests();
      if (this.#trouble === undefined || this.#isStopping) continue;
      this.#options.onEvent({ event: "resting", ...this.#trouble });
      await this.#pause(REST_MS);
    }
  }

  /** As long as objections are heard and certificates can be issued. */
  async #takeRequests(): Promise<void> {
    const { endpoint, authority, topics, group, requests } = this.#options;
    const service = new AuthorityService({
      endpoint,
      authority,
      topics,
      identity: this.#requestsIdentity,
      issueOwn: async () => (this.#requestsIdentity = await requests.issueOwn()),
      part: { kind: "requests", group },
      onEvent: (event) => this.#ofRequests(event),
    });
    service.start();
    await this.#until(() => !this.#isHearing || this.#trouble !== undefined || this.#isStopping);
    await service.stop();
  }

  #ofReports(event: ServiceEvent): void {
    if (event.event === "disconnected") this.#isHearing = false;
    if (event.event === "connected") {
      this.#isHearing = true;
      // What the broker did not keep meanwhile may have been an objection.
      this.#options.authority.missedSome();
    } else {
      this.#options.onEvent(event);
    }
    this.#look();
  }

  #ofRequests(event: ServiceEvent): void {
    this.#options.onEvent(event);
    if (event.event === "failed" && OF_THE_CA.test(event.code)) this.#trouble = { code: event.code, reason: event.reason };
    this.#look();
  }

  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#look = () => {
        if (holds()) resolve();
      };
      this.#look();
    });
  }

  #pause(delayMs: number): Promise<void> {
    if (this.#isStopping) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
