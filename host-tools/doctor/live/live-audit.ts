/** The doctor's examination of a running broker, from outside: what anybody who reaches its ports would find out. */
import { certificateFacts } from "../certificate-files.js";
import { sortFindings } from "../finding.js";
import type { DoctorReport, Finding, Note, Severity } from "../finding.js";
import { ruleOf } from "../rule-book.js";
import type { RuleId } from "../rule-book.js";
import { serverCertificateProblems } from "../server-certificate.js";
import { probeActively } from "./active-probes.js";
import { dial, isTls, ProbeConnection } from "./observed-connection.js";
import type { ProbeTarget } from "./observed-connection.js";
import { isOpenBeyondLoopback } from "./local-sockets.js";
import type { ProbeBudget } from "./probe-budget.js";
import type { ProbeCredentials } from "./probe-credentials.js";
import { selfMadeIdentity } from "./self-made-identity.js";
import { probeTlsVersions } from "./tls-probes.js";

export interface LiveOptions {
  readonly target: ProbeTarget;
  readonly isTls: boolean;
  /** Ports to try without TLS; the target's own is always tried. */
  readonly plainPorts: readonly number[];
  readonly credentials?: ProbeCredentials | undefined;
  readonly other?: ProbeCredentials | undefined;
  /** Certificates to trust, PEM; the system's when left out. */
  readonly ca?: string | undefined;
  readonly tryPasswords: boolean;
  readonly active: boolean;
  readonly nowMs: number;
}

/** How long a subscription is listened to. */
const LISTEN_MS = 1_500;
const PROBE_TOPIC = "hawser-doctor";
const KNOWN_PASSWORDS = [
  "admin:admin",
  "guest:guest",
  "admin:public",
  "admin:password",
  "mosquitto:mosquitto",
  "test:test",
  "root:root",
  "mqtt:mqtt",
] as const;

export class LiveAudit {
  readonly findings: Finding[] = [];
  readonly notes: Note[] = [];
  broker = "MQTT broker";
  version = "";
  /** Whether anything spoke TLS or MQTT; until then, why not. */
  hasAnswered = false;
  silence = "";

  constructor(
    readonly options: LiveOptions,
    readonly budget: ProbeBudget,
  ) {}

  find(id: RuleId, what: string, severity: Severity = ruleOf(id).severity): void {
    if (!this.findings.some((other) => other.id === id && other.what === what))
      this.findings.push({ id, severity, what, fix: [], edits: [] });
  }

  note(what: string): void {
    this.notes.push({ what });
  }

  async run(url: string): Promise<DoctorReport> {
    const { options } = this;
    if (options.isTls) await this.#handshake();
    for (const port of new Set([options.target.port, ...options.plainPorts])) await this.#plain({ ...options.target, port });
    if (options.isTls) {
      await this.#anonymous(options.target, {});
      await probeTlsVersions(this);
      await this.#selfMade();
    }
    if (options.credentials !== undefined) await this.#authenticated(options.credentials);
    if (options.tryPasswords) await this.#passwords();
    if (options.active) await probeActively(this);
    const { connections, bytes } = this.budget.used;
    return {
      kind: "live",
      target: url,
      broker: this.broker,
      version: this.version,
      findings: sortFindings(this.findings),
      notes: this.notes,
      checked: [`${connections} connections`, `${bytes} bytes sent`],
    };
  }

  async #handshake(): Promise<void> {
    const { target, ca, credentials, nowMs } = this.options;
    const anchors = ca ?? credentials?.ca;
    const dialled = await dial(target, { ...(anchors === undefined ? {} : { ca: anchors }), ALPNProtocols: ["mqtt"] }, this.budget);
    if (!("socket" in dialled) || !isTls(dialled.socket)) {
      const why = "answer" in dialled && dialled.answer.kind === "ended" ? reasonOf(dialled.answer.why) : "unknown";
      this.silence = `no TLS handshake (${why})`;
      this.hasAnswered = /\balert\b/.test(why);
      return this.note(
        this.hasAnswered
          ? `Port ${target.port} ended the handshake (${why}): it takes pre-shared keys alone, or wants a client certificate in TLS 1.2. Nothing more was seen; try --credentials.`
          : `No TLS handshake on port ${target.port}: ${why}.`,
      );
    }
    this.hasAnswered = true;
    const { socket } = dialled;
    const leaf = socket.getPeerX509Certificate();
    if (leaf === undefined) this.note(`The broker showed no certificate on port ${target.port}.`);
    else {
      for (const { what, severity } of serverCertificateProblems(certificateFacts(leaf.raw), nowMs, target.host))
        this.find("HW045", `The certificate on port ${target.port} ${what}.`, severity);
      const distrust = String(socket.authorizationError ?? "");
      if (distrust !== "" && !/HOSTNAME|ALTNAME|EXPIRED|NOT_YET/.test(distrust)) {
        if (anchors === undefined) this.note(`This system does not trust the broker's certificate (${distrust}). Name its CA with --ca.`);
        else
          this.find(
            "HW045",
            `The certificate on port ${target.port} does not lead to the CA given (${distrust}): devices that trust only that CA refuse it.`,
          );
      }
    }
    this.note(
      `TLS: ${socket.getProtocol() ?? "?"}, ${socket.getCipher().name}; ALPN ${socket.alpnProtocol === false ? "not offered" : socket.alpnProtocol}.`,
    );
    socket.destroy();
  }

  /** A plain CONNECT, on the TLS port too: some listeners only look encrypted. */
  async #plain(target: ProbeTarget): Promise<void> {
    const connection = await ProbeConnection.open(target, undefined, {}, this.budget);
    const { answer } = connection;
    if (answer.kind === "ended") {
      if (!this.options.isTls) this.silence ||= `no answer to MQTT's CONNECT (${reasonOf(answer.why)})`;
      return connection.close();
    }
    this.hasAnswered = true;
    const isWide = isOpenBeyondLoopback(target);
    if (!isWide) this.note(`Port ${target.port} speaks MQTT without TLS, on loopback only.`);
    else if (this.options.isTls && target.port === this.options.target.port)
      this.find("HW041", `Port ${target.port} speaks plain MQTT: a plain TCP CONNECT is answered with a CONNACK.`);
    else this.find("HW040", `Port ${target.port} speaks MQTT without TLS: credentials and messages can be read and changed on the way.`);
    await this.#judgeAnonymous(connection, target, isWide);
  }

  async #anonymous(target: ProbeTarget, tls: Record<string, unknown>): Promise<void> {
    const connection = await ProbeConnection.open(target, tls, {}, this.budget);
    await this.#judgeAnonymous(connection, target, true);
  }

  async #judgeAnonymous(connection: ProbeConnection, { port }: ProbeTarget, isWide: boolean): Promise<void> {
    if (!connection.isAccepted) return connection.close();
    if (!isWide) {
      // Who has a password for this broker expects it to be asked for.
      const what = `Clients that reach port ${port} get in without credentials, through a proxy or on the broker's machine, although the broker has passwords.`;
      if (this.options.credentials?.username !== undefined) this.find("HW022", what);
      else this.note(`Clients on the broker's machine get in without credentials on port ${port}.`);
      return connection.close();
    }
    const seen = await this.#look(connection);
    const free = await this.#freeName(port);
    if (seen.own || seen.others.length > 0)
      this.find(
        "HW020",
        `On port ${port} anybody gets in without credentials and ${seen.own ? "may write and read any topic" : `reads ${seen.others[0] ?? ""}`}.`,
      );
    else if (free)
      this.find("HW023", `On port ${port} any client may connect and call itself by any user name: an invented one was accepted.`);
    else this.find("HW021", `On port ${port} clients without credentials may connect; no topic was seen to be theirs.`);
    this.#judgeSystemTopics(seen, "anonymous clients");
  }

  /** Whether an invented user name with an invented password gets in. */
  async #freeName(port: number): Promise<boolean> {
    const { target, isTls: encrypted } = this.options;
    const tls = encrypted && port === target.port ? {} : undefined;
    const connection = await ProbeConnection.open(
      { ...target, port },
      tls,
      { username: "hawser-doctor-nobody", password: "invented" },
      this.budget,
    );
    connection.close();
    return connection.isAccepted;
  }

  /** What a subscription to everything brings, the doctor's own message on a topic nobody uses included. */
  async #look(connection: ProbeConnection): Promise<{ own: boolean; others: string[]; system: string[]; logs: string[] }> {
    const token = Math.random().toString(36).slice(2);
    const topic = `${PROBE_TOPIC}/${token}`;
    connection.subscribe("#", "$SYS/#");
    connection.publish(topic, token);
    const arrived = (): boolean => connection.messages.some((message) => message.topic === topic);
    await connection.until(arrived, LISTEN_MS);
    // Another connection gives the log under $SYS something to say.
    const stirred = await ProbeConnection.open(
      this.options.target,
      this.options.isTls ? this.#tlsOf(this.options.credentials) : undefined,
      {},
      this.budget,
    );
    stirred.close();
    await connection.until(() => connection.messages.some((message) => message.topic.startsWith("$SYS/broker/log")), LISTEN_MS);
    const topics = [...new Set(connection.messages.map((message) => message.topic))];
    const version = connection.messages.find((message) => message.topic === "$SYS/broker/version")?.payload;
    if (version !== undefined) [this.broker, this.version] = ["mosquitto", version.replace(/^mosquitto version /, "")];
    connection.close();
    return {
      own: arrived(),
      others: topics.filter((name) => !name.startsWith("$") && !name.startsWith(PROBE_TOPIC)),
      system: topics.filter((name) => name.startsWith("$SYS/")),
      logs: topics.filter((name) => name.startsWith("$SYS/broker/log")),
    };
  }

  #judgeSystemTopics({ system, logs }: { system: string[]; logs: string[] }, who: string): void {
    if (logs.length > 0) this.find("HW065", `The broker publishes its log to $SYS/broker/log, and ${who} may read it.`);
    else if (system.length > 0)
      this.note(
        `${who.charAt(0).toUpperCase()}${who.slice(1)} may read $SYS (${system.length} topics): version, load and number of clients.`,
      );
  }

  #tlsOf(credentials: ProbeCredentials | undefined): Record<string, unknown> {
    const { cert, key } = credentials ?? {};
    return cert === undefined || key === undefined ? {} : { cert, key };
  }

  /** A certificate that anybody can make must not open the door where none is not enough. */
  async #selfMade(): Promise<void> {
    const { target } = this.options;
    const without = await ProbeConnection.open(target, {}, {}, this.budget);
    without.close();
    if (without.isAccepted) return;
    const identity = await selfMadeIdentity("console");
    const connection = await ProbeConnection.open(target, identity, {}, this.budget);
    connection.close();
    if (connection.isAccepted)
      this.find("HW050", `On port ${target.port} a self-made certificate is accepted: it is asked for, and not checked.`, "critical");
  }

  async #authenticated(credentials: ProbeCredentials): Promise<void> {
    const { target, isTls: encrypted } = this.options;
    const tls = encrypted ? this.#tlsOf(credentials) : undefined;
    const connection = await ProbeConnection.open(target, tls, credentials, this.budget);
    const { answer } = connection;
    if (answer.kind !== "accepted") {
      const how = answer.kind === "refused" ? `CONNACK ${answer.code}` : `${answer.stage}: ${answer.why}`;
      // OpenSSL answers so when the certificate itself is in date, and the list of its CA is not.
      const isList =
        answer.kind === "ended" &&
        /certificate expired|alert number 45/i.test(answer.why) &&
        isInDate(credentials.cert, this.options.nowMs);
      this.find(
        isList ? "HW046" : "HW025",
        isList
          ? `A client certificate that is in date is refused as expired: the revocation list of its CA has expired.`
          : `The credentials given are refused on port ${target.port} (${how}).`,
      );
      return;
    }
    const seen = await this.#look(connection);
    if (seen.own) this.find("HW060", "A client with these credentials may write and read a topic that nobody gave it: any other's too.");
    else {
      const own = credentials.username ?? "";
      const foreign = seen.others.filter((topic) => own === "" || !topic.split("/").includes(own));
      if (foreign.length > 0) this.note(`These credentials read, among others: ${foreign.slice(0, 5).join(", ")}.`);
    }
    this.#judgeSystemTopics(seen, "every user");
  }

  async #passwords(): Promise<void> {
    const { target, isTls: encrypted } = this.options;
    for (const pair of KNOWN_PASSWORDS) {
      const [username = "", password = ""] = pair.split(":");
      const connection = await ProbeConnection.open(target, encrypted ? {} : undefined, { username, password }, this.budget);
      connection.close();
      if (!connection.isAccepted) continue;
      if (await this.#freeName(target.port))
        return this.note("Well-known passwords were not tried further: any name and password is accepted.");
      this.find("HW026", `${username} gets in with the password everybody tries first.`);
    }
  }
}

/** Of OpenSSL's error line, the words; Node appends the place in its source. */
function reasonOf(why: string): string {
  return (/:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(why)?.[1] ?? why).replace(/^sslv3 alert|^tlsv1 alert/, "alert:").trim();
}

function isInDate(pem: string | undefined, nowMs: number): boolean {
  if (pem === undefined) return false;
  const { notBeforeMs, notAfterMs } = certificateFacts(pem);
  return notBeforeMs <= nowMs && nowMs < notAfterMs;
}
