/**
 * Small readers of text: UTF-8, base64, topic names and filters, redirects, device ids; where there is another opinion to be had, it is the
 * same.
 */
import { failure } from "../../../sdk/failure.js";
import { redirectTarget } from "../../../sdk/supervisor/redirect.js";
import { base64Decode, base64Encode, utf8Encode } from "../../../sdk/encoding/text.js";
import { decodeUtf8, encodeUtf8, utf8Length } from "../../../sdk/encoding/utf8.js";
import { HawserError } from "../../../sdk/errors.js";
import { checkId } from "../../../sdk/identity/device-id.js";
import { checkFilter, checkTopic, matches } from "../../../sdk/mqtt/contract/topics.js";
import { byteBend, words } from "../bend.js";
import { promise, type Target } from "../fuzz-target.js";

const TEXT_WORDS = words(
  "/",
  "+",
  "#",
  "$share/",
  "$SYS/",
  "/+/",
  "//",
  "\n",
  "=",
  "==",
  "A",
  ":",
  "[",
  "]",
  " ",
  ":8883",
  ":65536",
  ":1e3",
  "::",
  [0],
  [0xc0, 0x80],
  [0xe0, 0x80, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf0, 0x9f, 0x98, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xff],
);
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** An input is two texts with a line feed between them: a filter and a topic, a list of allowed brokers and a reference. */
export const texts: Target = {
  name: "texts",
  inputs: 100_000,
  maximumBytes: 2_048,
  bend: byteBend(TEXT_WORDS),
  async open() {
    return (input) => {
      const text = decodeUtf8(input);
      promise(text === nodesText(input), "UTF-8 is read otherwise than by Node");
      const units = String.fromCharCode(...input, ...new Uint16Array(input.slice(0, input.length & ~1).buffer));
      promise(
        Buffer.from(units).equals(encodeUtf8(units)) && utf8Length(units) === Buffer.byteLength(units),
        "UTF-8 is written otherwise than by Node",
      );
      const [one = "", other = ""] = (text ?? units).split("\n");
      checkBase64(one);
      checkRedirect(one, other);
      return checkTopics(one, other);
    };
  },
};

function nodesText(input: Uint8Array): string | undefined {
  try {
    return strict.decode(input);
  } catch {
    return undefined;
  }
}

function checkBase64(text: string): void {
  const decoded = typedOr(() => base64Decode(text));
  const isNodes = Buffer.from(text, "base64").toString("base64") === text;
  promise((decoded !== undefined) === isNodes, `base64 ${JSON.stringify(text)} is ${isNodes ? "refused" : "taken"}`);
  if (decoded !== undefined) promise(base64Encode(decoded) === text, "base64 does not come back as it was");
}

function checkRedirect(list: string, reference: string): void {
  const allowed = [...list.split(" "), "broker:8883", "[2001:db8::1]:8883"];
  const target = redirectTarget(failure("SERVER_MOVED", "", { serverReference: reference }), allowed);
  if (target === undefined) return;
  promise(Number.isInteger(target.port) && target.port >= 1 && target.port <= 65_535, `a redirect to port ${target.port}`);
  promise(
    target.host !== "" && reference.split(" ").some((name) => allowed.includes(name) && name.includes(target.host)),
    `a redirect to ${target.host}`,
  );
}

function checkTopics(filter: string, topic: string): string {
  const isFilter = typedOr(() => checkFilter(filter)) !== undefined;
  const isTopic = typedOr(() => checkTopic(topic)) !== undefined;
  typedOr(() => checkId(topic));
  const matched = matches(filter, topic);
  if (!isFilter || !isTopic) return isFilter ? "INVALID_TOPIC" : "INVALID_FILTER";
  promise(
    matched === asTheStandardSays(filter, topic),
    `${JSON.stringify(filter)} ${matched ? "matches" : "does not match"} ${JSON.stringify(topic)}`,
  );
  promise(utf8Encode(topic).length <= 65_535, "a topic is too long");
  return matched ? "matches" : "differs";
}

/** MQTT 5.0, section 4.7, as a regular expression. */
function asTheStandardSays(filter: string, topic: string): boolean {
  const whole = filter.startsWith("$share/") ? filter.split("/").slice(2).join("/") : filter;
  if (topic.startsWith("$") && /^[+#]/.test(whole)) return false;
  const levels = whole.split("/").map((level) => (level === "+" ? "[^/]*" : level.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
  const isOpen = levels.at(-1) === "#" || levels.at(-1) === "\\#";
  const fixed = isOpen ? levels.slice(0, -1) : levels;
  const tail = !isOpen ? "" : fixed.length === 0 ? ".*" : "(/.*)?";
  return new RegExp(`^${fixed.join("/")}${tail}$`, "su").test(topic);
}

function typedOr<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof HawserError) return undefined;
    throw error;
  }
}
