import { expect, test } from "vitest";
import { parseObject } from "./json.js";
import { utf8Encode } from "./text.js";

const parse = (text: string): unknown => parseObject(utf8Encode(text));

test("an object comes through, all else is undefined", () => {
  expect(parse('{"a":[1,{"b":"ü"}]}')).toEqual({ a: [1, { b: "ü" }] });
  for (const text of ["", "{", "[]", "null", '"a"', "1", '{"a":1}x']) expect(parse(text)).toBeUndefined();
  expect(parseObject(Uint8Array.of(0x7b, 0xff, 0x7d))).toBeUndefined();
});

test("structure is bounded: 48 braces, brackets and commas", () => {
  const list = (length: number): string => `{"a":[${Array<string>(length).fill("0").join()}]}`;
  expect(parse(list(47))).toEqual({ a: Array(47).fill(0) });
  expect(parse(list(48))).toBeUndefined();
});
