/** Where a device's topics are: the authority knows, as the broker's policy has them, and tells it with the identity. */

export interface DeviceTopics {
  /** Below it are the application's topics. */
  base: string;
  /** Below it are `/request` and `/response`, on which the device and the authority speak. */
  identity: string;
}

/** Room for them in the one record that decides, characters. */
const MAX_BASE_LENGTH = 512;

/** Whether topics may begin with it: plain levels and `{id}`, at most one slash in front. */
export function isTopicBase(base: unknown): base is string {
  if (typeof base !== "string" || base.startsWith("$") || base.length > MAX_BASE_LENGTH) return false;
  const levels = base.replace(/^\//, "").split("/");
  return levels.every((level) => level === "{id}" || (level !== "" && !/[+#{}\0]/.test(level)));
}

/** What was told, or is stored; undefined where a device could not use it. */
export function readTopics(value: unknown): DeviceTopics | undefined {
  const { base, identity } = (value ?? {}) as { base?: unknown; identity?: unknown };
  return isTopicBase(base) && isTopicBase(identity) ? { base, identity } : undefined;
}
