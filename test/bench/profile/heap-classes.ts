/** What the heap of this process holds, by the name of the class or the kind of thing. */
import { once } from "node:events";
import { getHeapSnapshot } from "node:v8";

interface Snapshot {
  readonly snapshot: { readonly meta: { readonly node_fields: readonly string[]; readonly node_types: readonly [readonly string[]] } };
  readonly nodes: readonly number[];
  readonly strings: readonly string[];
}

/** Kinds whose names are their contents. */
const NAMELESS = new Set(["string", "concatenated string", "sliced string", "number", "heap number", "code", "symbol", "bigint"]);

/** Bytes by class; collects first. */
export async function heapByClass(): Promise<Map<string, number>> {
  const { snapshot, nodes, strings } = await snapshotNow();
  const { node_fields: fields, node_types: types } = snapshot.meta;
  const [type, name, size] = ["type", "name", "self_size"].map((field) => fields.indexOf(field)) as [number, number, number];
  const sizes = new Map<string, number>();
  for (let at = 0; at < nodes.length; at += fields.length) {
    const kind = types[0][nodes[at + type] ?? 0] ?? "";
    const words = NAMELESS.has(kind) ? `(${kind})` : `${kind === "object" ? "" : `(${kind}) `}${strings[nodes[at + name] ?? 0] ?? ""}`;
    sizes.set(words, (sizes.get(words) ?? 0) + (nodes[at + size] ?? 0));
  }
  return sizes;
}

async function snapshotNow(): Promise<Snapshot> {
  const stream = getHeapSnapshot();
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(Buffer.from(chunk)));
  await once(stream, "end");
  return JSON.parse(Buffer.concat(chunks).toString()) as Snapshot;
}
