/**
 * Reads one line of mosquitto's log (2.0.11, 2.0.21, 2.1.2). Client ids, user names and topics in it are the sender's text,
 * so each line is anchored at both ends on text that only the broker writes; where a sender's text could be divided in two
 * ways, nobody is named.
 *
 * Logs written with `log_type subscribe`, `unsubscribe` or `all` cannot be read: those lines begin with the client's id, so
 * a client can forge any line. Honest clients betray such a log: their lines fit nothing that the broker writes.
 */

export const REFUSAL_REASONS = [
  "certificate",
  "no_certificate",
  "broker_distrusted",
  "psk",
  "password",
  "plaintext",
  "scan",
  "tls",
  "protocol",
  "oversize",
  "limit",
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export type LogFact =
  | { readonly kind: "broker-started"; readonly version: string }
  | { readonly kind: "broker-stopped" }
  | { readonly kind: "reloaded" }
  | { readonly kind: "configuration-error"; readonly detail: string }
  | { readonly kind: "accepted"; readonly address: string }
  | { readonly kind: "connected"; readonly address?: string; readonly client?: string; readonly user?: string }
  | { readonly kind: "disconnected"; readonly client?: string; readonly address?: string }
  | { readonly kind: "timed-out"; readonly client?: string; readonly address?: string }
  | { readonly kind: "taken-over"; readonly client?: string; readonly address?: string }
  | { readonly kind: "kicked"; readonly client?: string }
  /** A publish that was let through, with log_type debug. */
  | { readonly kind: "published"; readonly client?: string; readonly topic?: string; readonly sizeBytes: number }
  /** A publish, unless `access` says otherwise; mosquitto logs no other denials. */
  | {
      readonly kind: "denied";
      readonly client?: string;
      readonly topic?: string;
      readonly sizeBytes?: number;
      readonly access?: "subscribe";
    }
  /** `claimedClient` is what the sender called itself: nothing proves it. */
  | { readonly kind: "refused"; readonly reason: RefusalReason; readonly address?: string; readonly claimedClient?: string }
  /** A line that begins with a client's id: see above. */
  | { readonly kind: "client-text" }
  /** The first of the two lines of a failed handshake. */
  | { readonly kind: "handshake-error"; readonly reason: RefusalReason }
  /** The second one; alone it is a protocol error. */
  | { readonly kind: "handshake-ended"; readonly address?: string };

export interface LogLine {
  /** When the broker wrote it; undefined where it writes no time. */
  readonly timeMs?: number;
  /** Undefined for lines that report nothing of interest here. */
  readonly fact?: LogFact;
  /** Address and port of the connection, divided by a colon, where the broker wrote them. */
  readonly peer?: string;
  /** A sender's text filled the line, and what the broker wrote behind it is missing. */
  readonly isCut?: true;
}

/**
 * mosquitto puts a line together in 1000 bytes, the time included, and drops what is beyond. So the end of a line this long may be the
 * sender's: an id of the right length that ends as a line does would be taken for another name, with an honest one before it.
 */
export const CUT_LINE_BYTES = 999;

const STAMP = /^(?:(\d{9,11})|(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[+-]\d{4})?)): /;
const ADDRESS = "[0-9a-fA-F:.]{2,45}";

/** OpenSSL's texts and their meaning for a broker that asks for certificates or pre-shared keys. */
const TLS_REASONS: readonly (readonly [text: string, reason: RefusalReason])[] = [
  ["peer did not return a certificate", "no_certificate"],
  ["certificate verify failed", "certificate"],
  ["alert unknown ca", "broker_distrusted"],
  ["alert bad certificate", "broker_distrusted"],
  ["alert certificate", "broker_distrusted"],
  ["wrong version number", "plaintext"],
  ["http request", "plaintext"],
  ["unexpected eof while reading", "scan"],
  ["binder does not verify", "psk"],
  ["decryption failed or bad record mac", "psk"],
  ["no suitable signature algorithm", "psk"],
  ["psk identity not found", "psk"],
];

const VERSION = /^mosquitto version (\d+\.\d+\.\d+)\S* starting$/;
const ACCEPTED = new RegExp(`^New connection from (${ADDRESS}):\\d{1,5} on port \\d{1,5}\\.$`);
const CONNECTED = new RegExp(`^New (?:client|bridge) connected from (${ADDRESS}):\\d{1,5} as (.*)\\.$`, "s");
const CONNECTED_FROM = new RegExp(`^New (?:client|bridge) connected from (${ADDRESS}):\\d{1,5} as `);
const SESSION_MARK = / \(p\d, c[01], k\d{1,5}(?=[,)])/g;
const RECEIVED = "Received PUBLISH from ";
const DENIED = "Denied PUBLISH from ";
const PUBLISH_MARK = / \(d[01], q[012], r[01], m\d{1,5}, '/g;
const PUBLISH_END = /', \.\.\. \((\d{1,10}) bytes\)\)$/;
const TLS_ERROR = /^OpenSSL Error[\w ]{0,60}\[0\]: error:[0-9A-F]{8}:[\w ]+:\w*:([\w ]+)$/;
const FROM_FAILED = new RegExp(`^Client connection from (${ADDRESS}) failed: error:[0-9A-F]{8}:[\\w ]+:\\w*:([\\w ]+)\\.$`);
const FROM_DENIED = new RegExp(`^Client connection from (${ADDRESS}) denied: max_connections exceeded\\.$`);
const BAD_PROTOCOL = new RegExp(`^Invalid protocol (?:version \\d+|".{0,300}") in CONNECT from (${ADDRESS})\\.$`, "s");
const FIRST_PACKET = new RegExp(`^Protocol error from (${ADDRESS}):\\d{1,5}: `);
const BAD_CONFIG = /^Error: (.*(?:in acl_file|password|psk|configuration|config|certificate|CRL|\.conf).*)$/is;
/** `ID QOS FILTER` of log_type subscribe, `ID FILTER` of log_type unsubscribe, of clients whose id has no blank or colon. */
const CLIENT_TEXT = /^[^\s:]+ (?:[012] \S+|[^\s/:]+\/\S*|[#+])$/;
const PEER_OF_NEW = new RegExp(`^New (?:connection|client connected|bridge connected) from (${ADDRESS}:\\d{1,5}) `);
/** The last one is the broker's: behind it stand its own words alone. */
const PEER_OF_END = new RegExp(`^Client .* \\[(${ADDRESS}:\\d{1,5})\\] disconnected[ \\w.:]*$`, "s");
const WITH_ADDRESS = new RegExp(`^(.*) \\[(${ADDRESS}):\\d{1,5}\\]$`, "s");

/** The two endings that every version writes. */
const PROTOCOL_ERROR = " disconnected: Protocol error.";
const DISCONNECTED = " disconnected.";
const BOTH_FORMS: ReadonlySet<string> = new Set([PROTOCOL_ERROR, DISCONNECTED]);
/** Those in the words of the system or the library: `Success` for a connection that was reset. */
const WORDS_OF_END = / disconnected: [A-Z][a-z]+(?: [A-Za-z]+){0,8}\.$/;

/** In the place of an id that was not sent. */
const NOBODY = "<unknown>";

type Ending = (client: string | undefined, address: string | undefined) => LogFact;

const who = (client: string | undefined, address?: string) => ({
  ...(client === undefined ? {} : { client }),
  ...(address === undefined ? {} : { address }),
});
const refusal =
  (reason: RefusalReason): Ending =>
  (client, address) => ({
    kind: "refused",
    reason,
    ...(address === undefined ? {} : { address }),
    ...(client === undefined || client === address || client === NOBODY ? {} : { claimedClient: client }),
  });
const handshakeEnd: Ending = (client, address) => {
  const isUnnamed = client === undefined || client === address;
  return isUnnamed ? { kind: "handshake-ended", ...who(undefined, address) } : refusal("protocol")(client, address);
};
const gone: Ending = (client, address) => ({ kind: "disconnected", ...who(client, address) });
const timedOut: Ending = (client, address) => ({ kind: "timed-out", ...who(client, address) });
const takenOver: Ending = (client, address) => ({ kind: "taken-over", ...who(client, address) });

/**
 * Endings of lines that begin with `Client `. The second column marks those that 2.1 and later write after the client's
 * address; where both forms end alike, the one with the address stands first.
 */
const ENDINGS: readonly (readonly [text: string, isSince21: boolean, ending: Ending])[] = [
  [" disconnected, not authorised.", false, refusal("password")],
  [" disconnected: not authorised.", true, refusal("password")],
  [" disconnected: bad username or password.", true, refusal("password")],
  [" disconnected due to protocol error.", false, refusal("protocol")],
  [" disconnected due to malformed packet.", false, refusal("protocol")],
  [" disconnected due to oversize packet.", false, refusal("oversize")],
  [PROTOCOL_ERROR, true, handshakeEnd],
  [PROTOCOL_ERROR, false, handshakeEnd],
  [" disconnected: protocol error.", true, refusal("protocol")],
  [" disconnected: malformed packet.", true, refusal("protocol")],
  [" disconnected: oversize packet.", true, refusal("oversize")],
  [" disconnected: session taken over.", true, takenOver],
  [" already connected, closing old connection.", false, takenOver],
  [" has exceeded timeout, disconnecting.", false, timedOut],
  [" disconnected: exceeded timeout.", true, timedOut],
  [" been disconnected by administrative action.", false, (client) => ({ kind: "kicked", ...who(client) })],
  [DISCONNECTED, true, gone],
  [DISCONNECTED, false, gone],
  [" closed its connection.", false, gone],
];

/**
 * @param line without its line feed
 * @param isSince21 whether mosquitto 2.1 or later wrote it: only then are addresses in `Client ...` lines the broker's
 */
export function readMosquittoLine(line: string, isSince21: boolean): LogLine {
  const stamp = STAMP.exec(line);
  const text = stamp === null ? line : line.slice(stamp[0].length);
  const timeMs = stamp === null ? Number.NaN : stamp[1] !== undefined ? Number(stamp[1]) * 1000 : Date.parse(stamp[2] ?? "");
  // A character takes three bytes at most for each unit of a string's length.
  const mayBeCut = 3 * line.length >= CUT_LINE_BYTES && Buffer.byteLength(line) >= CUT_LINE_BYTES && holdsSendersText(text);
  const fact = mayBeCut ? cutFactOf(text) : factOf(text, isSince21);
  const peer = fact === undefined ? undefined : peerOf(text, fact);
  return {
    ...(Number.isNaN(timeMs) ? {} : { timeMs }),
    ...(fact === undefined ? {} : { fact }),
    ...(peer === undefined ? {} : { peer }),
    ...(mayBeCut ? { isCut: true } : {}),
  };
}

/** Lines of a form that {@link factOf} reads a name, topic or address from. */
function holdsSendersText(text: string): boolean {
  return /^(?:Client|New (?:client|bridge) connected|Received PUBLISH|Denied PUBLISH|Invalid protocol) /.test(text);
}

/** What a line says before the sender's text begins. */
function cutFactOf(text: string): LogFact | undefined {
  const address = CONNECTED_FROM.exec(text)?.[1];
  if (address !== undefined) return { kind: "connected", address };
  return text.startsWith(DENIED) ? { kind: "denied" } : undefined;
}

function peerOf(text: string, fact: LogFact): string | undefined {
  if (fact.kind === "accepted" || fact.kind === "connected") return PEER_OF_NEW.exec(text)?.[1];
  // Of a version that writes one: else the fact would have no address.
  return "address" in fact ? PEER_OF_END.exec(text)?.[1] : undefined;
}

function factOf(text: string, isSince21: boolean): LogFact | undefined {
  if (text.startsWith("Client ")) return ofClient(text, isSince21) ?? ofAddress(text);
  if (text.startsWith("New ")) return newConnection(text);
  if (text.startsWith(RECEIVED)) return publish("published", text, RECEIVED.length);
  if (text.startsWith(DENIED)) return publish("denied", text, DENIED.length);
  if (text.startsWith("OpenSSL Error")) return handshakeError(text);
  if (text.startsWith("Invalid protocol ")) return addressRefusal(BAD_PROTOCOL.exec(text)?.[1], "protocol");
  if (text.startsWith("Protocol error from ")) return addressRefusal(FIRST_PACKET.exec(text)?.[1], "protocol");
  if (text === "Reloading config.") return { kind: "reloaded" };
  const version = VERSION.exec(text)?.[1];
  if (version !== undefined) return { kind: "broker-started", version };
  if (/^mosquitto version \S+ terminating$/.test(text)) return { kind: "broker-stopped" };
  if (CLIENT_TEXT.test(text)) return { kind: "client-text" };
  const detail = BAD_CONFIG.exec(text)?.[1];
  return detail === undefined ? undefined : { kind: "configuration-error", detail: detail.slice(0, 300) };
}

function ofClient(text: string, isSince21: boolean): LogFact | undefined {
  const words = WORDS_OF_END.exec(text)?.[0];
  const others =
    words === undefined
      ? []
      : ([
          [words, true, gone],
          [words, false, gone],
        ] as const);
  for (const [ending, needs21, make] of [...ENDINGS, ...others]) {
    if (!text.endsWith(ending)) continue;
    const name = text.slice("Client ".length, -ending.length);
    if (!needs21) return make(name === NOBODY ? undefined : isSince21 ? withoutAddress(name) : name, undefined);
    const found = WITH_ADDRESS.exec(name);
    if (!isSince21) {
      // Either an unknown version's address, or an id that looks like one: name neither.
      if (found !== null || !(BOTH_FORMS.has(ending) || ending === words)) return make(undefined, undefined);
      continue;
    }
    if (found !== null) return make(found[1], found[2]);
  }
  return undefined;
}

/** Of a form that 2.1 writes without an address: one in it belongs to the id, or to a form not seen yet. */
function withoutAddress(name: string): string | undefined {
  return WITH_ADDRESS.test(name) ? undefined : name;
}

function ofAddress(text: string): LogFact | undefined {
  const full = FROM_DENIED.exec(text)?.[1];
  if (full !== undefined) return { kind: "refused", reason: "limit", address: full };
  const failed = FROM_FAILED.exec(text);
  return failed === null ? undefined : addressRefusal(failed[1], tlsReason(failed[2] ?? ""));
}

function newConnection(text: string): LogFact | undefined {
  const accepted = ACCEPTED.exec(text)?.[1];
  if (accepted !== undefined) return { kind: "accepted", address: accepted };
  const connected = CONNECTED.exec(text);
  if (connected === null) return undefined;
  const [, address = "", rest = ""] = connected;
  const marks = [...rest.matchAll(SESSION_MARK)];
  const at = marks[0]?.index;
  if (at === undefined) return undefined;
  if (marks.length > 1) return { kind: "connected", address };
  const user = /, u'(.*)'\)$/s.exec(rest.slice(at))?.[1];
  return { kind: "connected", address, client: rest.slice(0, at), ...(user === undefined ? {} : { user }) };
}

function publish(kind: "published" | "denied", text: string, nameAt: number): LogFact | undefined {
  const end = PUBLISH_END.exec(text);
  const marks = [...text.matchAll(PUBLISH_MARK)];
  const mark = marks[0];
  if (end === null || mark === undefined) return undefined;
  const sizeBytes = Number(end[1]);
  if (marks.length > 1 || mark.index + mark[0].length > end.index) return { kind, sizeBytes };
  return { kind, client: text.slice(nameAt, mark.index), topic: text.slice(mark.index + mark[0].length, end.index), sizeBytes };
}

function handshakeError(text: string): LogFact | undefined {
  const reason = TLS_ERROR.exec(text)?.[1];
  return reason === undefined ? undefined : { kind: "handshake-error", reason: tlsReason(reason) };
}

function addressRefusal(address: string | undefined, reason: RefusalReason): LogFact | undefined {
  return address === undefined ? undefined : { kind: "refused", reason, address };
}

function tlsReason(text: string): RefusalReason {
  return TLS_REASONS.find(([part]) => text.includes(part))?.[1] ?? "tls";
}
