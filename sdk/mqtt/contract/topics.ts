/** Topic names and filters (MQTT 5.0, section 4.7): which are valid, which match. */
import { HawserError } from "../../errors.js";
import { utf8Length } from "../../encoding/utf8.js";
import { unfitText } from "../../checks/text-check.js";

const MAX_TOPIC_BYTES = 65_535;

/**
 * Returns `topic` when a message may be published to it.
 * @throws HawserError `INVALID_TOPIC`
 */
export function checkTopic(topic: string): string {
  const problem = textProblem(topic) ?? (topic.includes("+") || topic.includes("#") ? "contains a wildcard" : undefined);
  if (problem !== undefined)
    throw new HawserError(
      "INVALID_TOPIC",
      `the topic ${shown(topic)} ${problem}`,
      "Publish to a topic name without '+', '#' and control characters.",
    );
  return topic;
}

/**
 * Returns `filter` when it may be subscribed to; shared subscriptions (`$share/{group}/{filter}`, MQTT 5.0 section 4.8.2) included.
 * @throws HawserError `INVALID_FILTER`
 */
export function checkFilter(filter: string): string {
  const problem = textProblem(filter) ?? sharedProblem(filter) ?? wildcardProblem(matchedPart(filter));
  if (problem !== undefined)
    throw new HawserError(
      "INVALID_FILTER",
      `the topic filter ${shown(filter)} ${problem}`,
      "See MQTT 5.0, section 4.7.1 for the use of '+' and '#'.",
    );
  return filter;
}

function textProblem(text: string): string | undefined {
  if (typeof text !== "string") return "must be a string";
  if (text === "") return "is empty";
  return unfitText(text) ?? (utf8Length(text) > MAX_TOPIC_BYTES ? "is longer than 65535 bytes" : undefined);
}

function sharedProblem(filter: string): string | undefined {
  if (!isShared(filter)) return undefined;
  const [, group, first] = filter.split("/");
  if (group === undefined || group === "" || /[+#]/.test(group)) return "names no valid share group";
  return first === undefined || matchedPart(filter) === "" ? "shares no filter" : undefined;
}

function wildcardProblem(filter: string): string | undefined {
  const levels = filter.split("/");
  for (let i = 0; i < levels.length; i++) {
    const level = levels[i] as string;
    if (level.length > 1 && /[+#]/.test(level)) return "has a wildcard that is not a whole level";
    if (level === "#" && i < levels.length - 1) return "has '#' before its last level";
  }
  return undefined;
}

function shown(text: string): string {
  if (typeof text !== "string") return String(text);
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}

export function isShared(filter: string): boolean {
  return filter === "$share" || filter.startsWith("$share/");
}

/** The part of a filter that topics are matched against. */
function matchedPart(filter: string): string {
  return isShared(filter) ? filter.split("/").slice(2).join("/") : filter;
}

export function hasWildcard(filter: string): boolean {
  return filter.includes("+") || filter.includes("#");
}

/** True when a message to `topic` is one the subscription to `filter` asks for. */
export function matches(filter: string, topic: string): boolean {
  return new TopicMatcher(filter).matches(topic);
}

/** A filter taken apart once, for many topics. */
export class TopicMatcher {
  readonly #whole: string;
  readonly #levels: readonly string[] | undefined;

  constructor(filter: string) {
    this.#whole = matchedPart(filter);
    this.#levels = hasWildcard(this.#whole) ? this.#whole.split("/") : undefined;
  }

  matches(topic: string): boolean {
    const filter = this.#levels;
    if (filter === undefined) return topic === this.#whole;
    // A wildcard in the first place does not match topics of the broker itself (MQTT 5.0, section 4.7.2).
    if (topic.startsWith("$") && (filter[0] === "+" || filter[0] === "#")) return false;
    const levels = topic.split("/");
    for (let i = 0; i < filter.length; i++) {
      const wanted = filter[i];
      if (wanted === "#") return true;
      if (i >= levels.length || (wanted !== "+" && wanted !== levels[i])) return false;
    }
    return levels.length === filter.length;
  }
}
