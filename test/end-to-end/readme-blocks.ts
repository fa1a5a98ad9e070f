/** The code in README and docs, for tests that run it. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** The code block that follows `<!-- name -->` in a page of the repository. */
export function block(name: string, page = "README.md"): string {
  const found = new RegExp(`<!-- ${name} -->\\s*\`\`\`\\w+\\n([\\s\\S]*?)\`\`\``).exec(readFileSync(ROOT + page, "utf8"))?.[1];
  if (found === undefined) throw new Error(`${page} has no block ${name}`);
  return found;
}
