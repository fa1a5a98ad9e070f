import { describe, expect, it } from "vitest";
import { findCode } from "./source-text.js";

const found = (source: string, wanted: string): string[] => findCode(source, wanted).map(({ start, end }) => source.slice(start, end));

describe("a piece of code in a source file", () => {
  it("is found however the lines are broken", () => {
    const source = "  if (this.#clock.due(\n    now,\n    limit,\n  )) {\n    close();\n  }\n";
    expect(found(source, "if (this.#clock.due(now, limit)) {\n close();")).toEqual([source.slice(2, -5)]);
    expect(found(source, "this.#clock.due( now, limit, )")).toHaveLength(1);
  });

  it("is not found where words differ, run together or only begin alike", () => {
    expect(found("const later = 1;", "const late")).toEqual([]);
    expect(found("constant = 1;", "const ant")).toEqual([]);
    expect(found("this.#late()", "late()")).toEqual([]);
    expect(found("call(a b)", "call(a, b)")).toEqual([]);
  });

  it("is told as often as it stands there, and never for an empty text", () => {
    expect(found("a(1); a( 1 );", "a(1);")).toEqual(["a(1);", "a( 1 );"]);
    expect(found("a(1);", " \n")).toEqual([]);
  });
});
