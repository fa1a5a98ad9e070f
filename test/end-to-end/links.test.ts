/** Every link in README and docs leads to a file and a heading that exist. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGES = ["", "docs", "examples"].flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name)),
);

it.each(PAGES)("%s links only to what exists", (page) => {
  const text = withoutCode(readFileSync(join(ROOT, page), "utf8"));
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g), ...text.matchAll(/^\[[^\]]+\]: (\S+)/gm)].map(([, target = ""]) => target);
  expect(targets.filter((target) => !/^(https?|mailto):/.test(target) && !leadsSomewhere(page, target))).toEqual([]);
});

function leadsSomewhere(page: string, target: string): boolean {
  const [path = "", heading] = target.split("#");
  const file = path === "" ? join(ROOT, page) : join(ROOT, dirname(page), path);
  if (!existsSync(file)) return false;
  return heading === undefined || !file.endsWith(".md") || headings(file).has(heading);
}

/** As GitHub names them: lower case, no punctuation, blanks as hyphens; a number where one repeats. */
function headings(file: string): Set<string> {
  const seen = new Map<string, number>();
  const names = [...withoutCode(readFileSync(file, "utf8")).matchAll(/^#+ +(.+)$/gm)].map(([, title = ""]) => {
    const slug = title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-");
    const times = seen.get(slug) ?? 0;
    seen.set(slug, times + 1);
    return times === 0 ? slug : `${slug}-${times}`;
  });
  const anchors = [...readFileSync(file, "utf8").matchAll(/<a (?:id|name)="([^"]+)"/g)].map(([, name = ""]) => name);
  return new Set([...names, ...anchors]);
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, "");
}
