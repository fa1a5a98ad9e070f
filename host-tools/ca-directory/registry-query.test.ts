import { expect, test } from "vitest";
import type { NameSummary } from "./registry-entry.js";
import { find, select } from "./registry-query.js";
import type { RegistryQuery } from "./registry-query.js";

const device = (name: string, { notAfterMs, ...more }: Partial<NameSummary> & { notAfterMs?: number } = {}): NameSummary => ({
  name,
  kind: "device",
  role: "meter",
  state: "active",
  createdAtMs: 0,
  certificates: notAfterMs === undefined ? [] : [{ serial: "1", notBeforeMs: 0, notAfterMs, status: "active", publicKeyHash: "" }],
  ...more,
});

const NAMES = [
  device("Meter-1", { attributes: { site: "b1", line: "l1" }, notAfterMs: 3000 }),
  device("meter-2", { attributes: { site: "b2" }, notAfterMs: 1000 }),
  device("meter-20", { state: "revoked", attributes: { site: "b1" } }),
  device("office.1", { kind: "client", role: "viewer", notAfterMs: 2000 }),
];

const ids = (query: RegistryQuery): string[] => select(NAMES, query).map(({ name }) => name);

test.each<[string, RegistryQuery, string[]]>([
  ["no filter", {}, ["Meter-1", "meter-2", "meter-20", "office.1"]],
  ["an id", { id: "meter-2" }, ["meter-2"]],
  ["ids that begin alike", { id: "meter-*" }, ["meter-2", "meter-20"]],
  ["ids of a length", { id: "meter-2?" }, ["meter-20"]],
  ["a point, which stands for itself", { id: "office.?" }, ["office.1"]],
  ["a pattern of a regular expression, which is none here", { id: "meter-[0-9]" }, []],
  ["a kind", { kind: "client" }, ["office.1"]],
  ["two states", { states: ["revoked", "reserved"] }, ["meter-20"]],
  ["two roles", { roles: ["viewer", "other"] }, ["office.1"]],
  ["a value of an attribute", { attributes: new Map([["site", new Set(["b1"])]]) }, ["Meter-1", "meter-20"]],
  ["one of two values", { attributes: new Map([["site", new Set(["b1", "b2"])]]) }, ["Meter-1", "meter-2", "meter-20"]],
  [
    "two attributes",
    {
      attributes: new Map([
        ["site", new Set(["b1"])],
        ["line", new Set(["l1"])],
      ]),
    },
    ["Meter-1"],
  ],
  ["an attribute that every object inherits", { attributes: new Map([["constructor", new Set(["x"])]]) }, []],
  ["an attribute that is not there", { lacking: ["line"] }, ["meter-2", "meter-20", "office.1"]],
  ["an end of the certificate, which names without one do not have", { endsBeforeMs: 2500 }, ["meter-2", "office.1"]],
  ["something else", { isWanted: ({ role }) => role === "viewer" }, ["office.1"]],
  ["all, by the end of the certificate", { sort: "expiry" }, ["meter-2", "office.1", "Meter-1", "meter-20"]],
])("a query for %s finds just these", (_what, query, expected) => {
  expect(ids(query)).toEqual(expected);
});

test("a limit gives the first names in the query's order, and counts all of them", () => {
  const many = Array.from({ length: 2500 }, (_, number) =>
    device(`m-${(number * 7919) % 2500}`, { notAfterMs: (number * 31) % 977, state: number % 2 === 0 ? "active" : "revoked" }),
  );
  for (const query of [{}, { sort: "expiry" } as const]) {
    const all = select(many, query);
    expect(find(many, query, 3)).toEqual({ count: 2500, states: { active: 1250, revoked: 1250 }, first: all.slice(0, 3) });
    expect([find(many, query, 0).first, find(many, query, 2499).first]).toEqual([[], all.slice(0, 2499)]);
  }
});
