import { expect, test } from "vitest";
import { MAX_LINE_BYTES } from "./log-tail.js";
import { PipeLines } from "./pipe-lines.js";

/** What comes of `text`, handed on in chunks of `chunkBytes`. */
function divided(text: string, chunkBytes: number): readonly string[] {
  const seen: string[] = [];
  const lines = new PipeLines({ line: (line) => void seen.push(line), tooLong: () => void seen.push("<too long>") });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += chunkBytes) lines.push(bytes.subarray(at, at + chunkBytes));
  lines.end();
  return seen;
}

test.each([1, 7, 1000, 65_536])("in chunks of %i bytes, a line within the bound comes whole and a longer one not at all", (chunkBytes) => {
  const longest = "é".repeat(MAX_LINE_BYTES / 2);
  const text = `${longest}\n${longest}x: forged end\nnext\n\n${"y".repeat(20_000)}\nlast`;
  expect(divided(text, chunkBytes)).toEqual([longest, "<too long>", "next", "", "<too long>", "last"]);
});

test("only a line feed ends a line: a topic may hold what other programs take for one", () => {
  expect(divided("Denied PUBLISH 'a\u2028b\u2029c\rd'\n", 4)).toEqual(["Denied PUBLISH 'a\u2028b\u2029c\rd'"]);
});
