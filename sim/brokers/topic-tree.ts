/** Which sessions a topic concerns: subscriptions in a tree of topic levels (MQTT 3.1.1 section 4.7). */

export interface Match {
  clientId: string;
  qos: number;
}

class Node {
  readonly children = new Map<string, Node>();
  readonly qosByClient = new Map<string, number>();
}

export class TopicTree {
  readonly #root = new Node();

  set(filter: string, clientId: string, qos: number): void {
    let node = this.#root;
    for (const level of filter.split("/")) {
      let child = node.children.get(level);
      if (child === undefined) {
        child = new Node();
        node.children.set(level, child);
      }
      node = child;
    }
    node.qosByClient.set(clientId, qos);
  }

  delete(filter: string, clientId: string): void {
    prune(this.#root, filter.split("/"), 0, clientId);
  }

  /** One entry for each client, with the highest QoS of its subscriptions that match (section 3.3.5). */
  match(topic: string): Match[] {
    const found = new Map<string, number>();
    collect(this.#root, topic.split("/"), 0, found);
    return [...found].map(([clientId, qos]) => ({ clientId, qos }));
  }
}

/** True when `filter` matches the topic name; wildcards never match a first level that begins with `$`. */
export function matchesFilter(filter: string, topic: string): boolean {
  if (filter === topic) return true;
  const levels = topic.split("/");
  const parts = filter.split("/");
  if (topic.startsWith("$") && !filter.startsWith("$")) return false;
  for (const [index, part] of parts.entries()) {
    if (part === "#") return true;
    if (index >= levels.length || (part !== "+" && part !== levels[index])) return false;
  }
  return parts.length === levels.length;
}

function collect(node: Node, levels: readonly string[], depth: number, found: Map<string, number>): void {
  const wildcards = depth > 0 || levels[0]?.startsWith("$") !== true;
  // `a/#` matches `a` itself too.
  if (wildcards) add(node.children.get("#"), found);
  const level = levels[depth];
  if (level === undefined) {
    add(node, found);
    return;
  }
  for (const key of wildcards && level !== "+" ? [level, "+"] : [level]) {
    const child = node.children.get(key);
    if (child !== undefined) collect(child, levels, depth + 1, found);
  }
}

function add(node: Node | undefined, found: Map<string, number>): void {
  for (const [clientId, qos] of node?.qosByClient ?? []) found.set(clientId, Math.max(qos, found.get(clientId) ?? 0));
}

/** Removes the subscription and every node that holds nothing any more; true when `node` itself became empty. */
function prune(node: Node, levels: readonly string[], depth: number, clientId: string): boolean {
  const level = levels[depth];
  if (level === undefined) {
    node.qosByClient.delete(clientId);
  } else {
    const child = node.children.get(level);
    if (child !== undefined && prune(child, levels, depth + 1, clientId)) node.children.delete(level);
  }
  return node.children.size === 0 && node.qosByClient.size === 0;
}
