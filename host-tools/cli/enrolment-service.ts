/** Puts the enrolment service together with a CA: its decisions, its limits, and its own short-lived certificate. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HawserError } from "../../sdk/errors.js";
import type { Endpoint } from "../../sdk/platform.js";
import { EnrolmentAuthority } from "../authority/enrolment-authority.js";
import type { EnrolmentCa } from "../authority/enrolment-authority.js";
import type { HolderQuestions } from "../authority/holder-questions.js";
import { DEFAULT_RATE_LIMITS, RateLimiter } from "../authority/rate-limiter.js";
import type { RateLimits } from "../authority/rate-limiter.js";
import { AuthorityService } from "../authority/service.js";
import { SharedService } from "../authority/shared-service.js";
import type { SharedPart, SharedServiceEvent } from "../authority/shared-service.js";
import type { ServiceEvent, ServiceIdentity, ServiceTopics, TopicSource } from "../authority/service.js";
import { AUTHORITY_NAME } from "../ca/reserved-names.js";
import type { CertificateAuthority } from "../ca/certificate-authority.js";
import { watchCa } from "../ca-directory/ca-watch.js";
import { isAway } from "../ca-directory/change-log.js";
import { FILES } from "../ca-directory/directory-layout.js";
import { DEFAULT_POLICY_TEXT } from "../policy/default-policy.js";

/** Short: its key is only in this process's memory, and a new one costs nothing. */
const OWN_LIFETIME_MS = 24 * 3_600_000;

/**
 * A service that has its certificate, which the CA and its brokers know from now on, and is yet to be started.
 *
 * @throws HawserError as `issueClient`
 */
export async function enrolmentService(
  ca: CertificateAuthority,
  endpoint: Endpoint,
  onEvent: (event: ServiceEvent) => void,
  limits: RateLimits = DEFAULT_RATE_LIMITS,
  questions?: HolderQuestions,
): Promise<AuthorityService> {
  const topics = await topicsOf(ca);
  return new AuthorityService({
    endpoint,
    topics,
    ...(await ownPart(ca, AUTHORITY_NAME)),
    authority: new EnrolmentAuthority(
      limited(ca, limits),
      new RateLimiter(limits, () => performance.now()),
      questions,
      () => topics.current().bases,
    ),
    onEvent,
  });
}

/** What {@link sharedEnrolmentService} tells. */
export interface SharedServiceListener {
  readonly onEvent: (event: SharedServiceEvent) => void;
  /** What this authority will not get over by itself. */
  readonly onLost: (error: HawserError) => void;
}

/**
 * The same as one of several at one broker.
 *
 * @throws HawserError `REGISTRY_NOT_FOUND` (the registry is not shared), `SHARE_UNPROVABLE`, and those of `issueClient`
 */
export async function sharedEnrolmentService(
  ca: CertificateAuthority,
  endpoint: Endpoint,
  { onEvent, onLost }: SharedServiceListener,
  limits: RateLimits = DEFAULT_RATE_LIMITS,
  questions?: HolderQuestions,
): Promise<SharedService> {
  const names = ca.sharedNames();
  const topics = await topicsOf(ca);
  if (topics.current().mark === undefined) throw markMissing();
  const authority = new EnrolmentAuthority(
    limited(ca, limits),
    new RateLimiter(limits, () => performance.now()),
    questions,
    () => topics.current().bases,
    () => service.caughtUp(),
  );
  const problem = async (): Promise<HawserError | undefined> => {
    const found = await ca.logProblem();
    if (found !== undefined && !isAway(found)) onLost(found);
    return found;
  };
  const [reports, requests] = [await ownPart(ca, names.reports), await ownPart(ca, names.requests)];
  const service: SharedService = new SharedService({
    endpoint,
    authority,
    topics,
    group: names.group,
    reports,
    requests,
    problem,
    onEvent,
  });
  return service;
}

function markMissing(): HawserError {
  return new HawserError(
    "SHARE_UNPROVABLE",
    "the policy lets the role authority publish on no separate request topic, by which it finds out whether it has heard all objections",
    `Let it, as the default policy does: write on devices/${AUTHORITY_NAME}/identity/request.`,
  );
}

/** As the CA's policy has them. The policy is read only when its file is another: the directory changes with every certificate. */
async function topicsOf(ca: CertificateAuthority): Promise<TopicSource> {
  let current = await ca.identityTopics(AUTHORITY_NAME);
  let seen = policyFileOf(ca);
  const watch = (onChange: () => void): (() => void) =>
    watchCa(ca.directory, () => {
      const now = policyFileOf(ca);
      if (now === seen) return;
      seen = now;
      const follow = (topics: ServiceTopics): void => {
        current = topics;
        onChange();
      };
      // Damage leaves the last good state, until the directory changes again.
      void ca.identityTopics(AUTHORITY_NAME).then(follow, () => (seen = ""));
    });
  return { current: () => current, watch };
}

function policyFileOf({ directory }: CertificateAuthority): string {
  const path = join(directory, FILES.policy);
  return existsSync(path) ? readFileSync(path, "utf8") : DEFAULT_POLICY_TEXT;
}

/** The registry counts too: what the limiter counted is gone when this service starts again. */
function limited(ca: CertificateAuthority, { perHour }: RateLimits): EnrolmentCa {
  return {
    issueFromCsr: (id, csr, arrivedAtMs, { anchors, ...asker }) =>
      ca.issueFromCsr(id, csr, { arrivedAtMs, perHour, asker, ...(anchors && { anchors }) }),
    retireOlder: (id, activeSerial, report) => ca.retireOlder(id, activeSerial, report),
    recordObjection: (id, signedBy) => ca.recordObjection(id, signedBy),
    identityBasesOf: (id) => ca.identityBasesOf(id),
  };
}

async function ownPart(ca: CertificateAuthority, name: string): Promise<SharedPart> {
  return { identity: await issueOwn(ca, name), issueOwn: () => issueOwn(ca, name) };
}

async function issueOwn(ca: CertificateAuthority, name: string): Promise<ServiceIdentity> {
  const { chainPem, keyPem, trustAnchorPem, notAfterMs } = await ca.issueClient({
    name,
    role: "authority",
    replace: true,
    lifetimeMs: OWN_LIFETIME_MS,
  });
  return { name, chainPem, keyPem, trustAnchorPem, renewAtMs: Date.now() + ((notAfterMs - Date.now()) * 2) / 3 };
}
