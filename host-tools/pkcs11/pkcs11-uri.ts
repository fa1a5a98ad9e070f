/** Names a key in a token: the PKCS#11 URI of RFC 7512, as far as a CA's key needs it. */
import { HawserError } from "../../sdk/errors.js";

/** Which key of which token. */
export interface TokenKey {
  /** The token's label: slots are renumbered, labels stay. */
  readonly token: string;
  /** Serial number of the token, where several have one label. */
  readonly serial?: string;
  /** The key's label (CKA_LABEL). */
  readonly object?: string;
  /** The key's id (CKA_ID), lower-case hex. */
  readonly id?: string;
  /** The token's PKCS#11 library. */
  readonly modulePath?: string;
  /** A file whose first line is the PIN. */
  readonly pinFile?: string;
}

const SCHEME = "pkcs11:";
const EXAMPLE = 'Use for example "pkcs11:token=hawser;object=issuing?module-path=/usr/lib/softhsm/libsofthsm2.so".';
/** Attributes that say the same once more, or describe a library: harmless. */
const IGNORED = ["type", "manufacturer", "model", "library-manufacturer", "library-description", "library-version"];

export function isTokenReference(text: string): boolean {
  return text.startsWith(SCHEME);
}

/** @throws HawserError `BAD_SIGNER` */
export function parseTokenKey(uri: string): TokenKey {
  const [path = "", query = ""] = uri.slice(SCHEME.length).split("?", 2);
  // Never shown as it came: a PIN may be in it.
  if (!isTokenReference(uri)) throw bad("a signer is named by a PKCS#11 URI (RFC 7512)");
  const found = new Map<string, string>();
  for (const [part, separator] of [
    [path, ";"],
    [query, "&"],
  ] as const) {
    for (const attribute of part.split(separator).filter((text) => text !== "")) {
      const [, name = "", value = ""] = /^([a-z0-9-]+)=(.*)$/s.exec(attribute) ?? [];
      if (name === "") throw bad("an attribute of the PKCS#11 URI is not name=value");
      if (found.has(name)) throw bad(`the PKCS#11 URI has ${name} twice`);
      found.set(name, value);
    }
  }
  if (found.has("pin-value"))
    throw bad(
      "the PKCS#11 URI holds a PIN, which every user of this machine can read in the list of processes",
      "Use pin-source=file:PATH, --pin-file, HAWSER_PIN_FILE or the prompt.",
    );
  const known = ["token", "serial", "object", "id", "module-path", "pin-source", ...IGNORED];
  const unknown = [...found.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) throw bad(`the PKCS#11 URI has an attribute that is not understood here: ${unknown}`);
  const text = (name: string): string | undefined => (found.has(name) ? decode(name, found.get(name) ?? "").toString("utf8") : undefined);
  const [token, serial, object, modulePath, pinSource] = [
    text("token"),
    text("serial"),
    text("object"),
    text("module-path"),
    text("pin-source"),
  ];
  const id = found.has("id") ? decode("id", found.get("id") ?? "").toString("hex") : undefined;
  if (token === undefined || token === "") throw bad("the PKCS#11 URI names no token");
  if (!object && !id) throw bad("the PKCS#11 URI names no key: it has neither object nor id");
  if (modulePath !== undefined && !modulePath.startsWith("/")) throw bad("module-path must be an absolute path");
  return {
    token,
    ...(serial === undefined ? {} : { serial }),
    ...(object === undefined ? {} : { object }),
    ...(id === undefined ? {} : { id }),
    ...(modulePath === undefined ? {} : { modulePath }),
    ...(pinSource === undefined ? {} : { pinFile: pinFileOf(pinSource) }),
  };
}

/** The URI in its one form, as the CA keeps it. */
export function tokenKeyUri({ token, serial, object, id, modulePath, pinFile }: TokenKey): string {
  const path = [
    ["token", token],
    ["serial", serial],
    ["object", object],
  ]
    .filter(([, value]) => value !== undefined)
    .map(([name = "", value = ""]) => `${name}=${encodeURIComponent(value)}`);
  const idText = id === undefined ? [] : [`id=${id.replace(/../g, "%$&")}`];
  const query = [
    ["module-path", modulePath],
    ["pin-source", pinFile === undefined ? undefined : `file:${pinFile}`],
  ]
    .filter(([, value]) => value !== undefined)
    .map(([name = "", value = ""]) => `${name}=${encodeURIComponent(value).replaceAll("%2F", "/").replaceAll("%3A", ":")}`);
  return `${SCHEME}${[...path, ...idText].join(";")}${query.length === 0 ? "" : `?${query.join("&")}`}`;
}

/** For messages: without paths. */
export function describeTokenKey({ token, object, id }: TokenKey): string {
  return `the key ${object ?? id ?? ""} in the token ${token}`;
}

function pinFileOf(source: string): string {
  const path = source.startsWith("file:") ? source.slice(5).replace(/^\/\/(?=\/)/, "") : source;
  if (path.startsWith("/")) return path;
  throw bad("pin-source must be file: and an absolute path");
}

function decode(name: string, text: string): Buffer {
  const bytes: Buffer[] = [];
  for (const [part, hex] of text.matchAll(/%([0-9A-Fa-f]{2})|[^%]+|%/g)) {
    if (part === "%") throw bad(`${name} in the PKCS#11 URI has a % without two hex digits`);
    bytes.push(hex === undefined ? Buffer.from(part, "utf8") : Buffer.from(hex, "hex"));
  }
  return Buffer.concat(bytes);
}

function bad(message: string, next = EXAMPLE): HawserError {
  return new HawserError("BAD_SIGNER", message, next);
}
