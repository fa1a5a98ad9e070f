/** Matching of MQTT topics and filters (MQTT 5.0 section 4.7), as the access rules need it. */

/**
 * True when `filter` matches the topic name `topic`. A filter that begins with a wildcard never matches a topic that begins with `$`
 * (section 4.7.2).
 */
export function matchesTopic(filter: string, topic: string): boolean {
  return covers(filter, topic);
}

/**
 * True when every topic that `inner` matches is matched by `outer` too: whoever may read `outer` may subscribe to `inner`.
 * @param inner a topic name or a topic filter, without a `$share/group/` prefix
 */
export function covers(outer: string, inner: string): boolean {
  if (inner.startsWith("$") !== outer.startsWith("$")) return false;
  const outerLevels = outer.split("/");
  const innerLevels = inner.split("/");
  for (const [index, level] of outerLevels.entries()) {
    if (level === "#") return true;
    const wanted = innerLevels[index];
    // `a/+` does not cover `a/#`, which also matches `a` and `a/b/c`.
    if (wanted === undefined || wanted === "#") return false;
    if (level !== "+" && level !== wanted) return false;
  }
  return innerLevels.length === outerLevels.length;
}

/** The filter inside a shared subscription (MQTT 5.0 section 4.8.2), or the filter itself; undefined when the share is malformed. */
export function unshared(filter: string): string | undefined {
  if (!filter.startsWith("$share/")) return filter;
  const groupEnd = filter.indexOf("/", "$share/".length);
  const inner = groupEnd < 0 ? "" : filter.slice(groupEnd + 1);
  const group = filter.slice("$share/".length, groupEnd < 0 ? undefined : groupEnd);
  return inner === "" || group === "" || /[+#]/.test(group) ? undefined : inner;
}

/** True for a well-formed topic name: not empty, no wildcard, no NUL, at most 65,535 bytes of UTF-8. */
export function isTopicName(topic: string): boolean {
  return topic !== "" && !/[+#\0]/.test(topic) && Buffer.byteLength(topic) <= 0xffff;
}

/** True for a well-formed topic filter: wildcards alone in their level, `#` only at the end. */
export function isTopicFilter(filter: string): boolean {
  if (filter === "" || filter.includes("\0") || Buffer.byteLength(filter) > 0xffff) return false;
  const levels = filter.split("/");
  return levels.every((level, index) => (level === "#" ? index === levels.length - 1 : level === "+" || !/[+#]/.test(level)));
}
