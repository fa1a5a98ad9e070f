import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { asyncApi } from "./asyncapi.js";
import { catalogue, toMarkdown } from "./catalogue.js";
import { PolicyEngine } from "./policy-engine.js";
import { principalsOf } from "./inventory.js";
import { readAssertions, runAssertions } from "./policy-assertions.js";
import { checkPolicy } from "./policy-check.js";
import { parsePolicy } from "./policy-file.js";
import { directoryOf } from "./policy-model.js";

const ROOT = fileURLToPath(new URL("../../examples/policies", import.meta.url));

describe.each(readdirSync(ROOT))("the example %s", (name) => {
  const read = (file: string): string => readFileSync(`${ROOT}/${name}/${file}`, "utf8");
  const policy = parsePolicy(read("policy.yaml"), `${name}/policy.yaml`);

  it("has nothing the checker complains about, and keeps its own tests", () => {
    expect(checkPolicy(policy)).toEqual([]);
    const { names, assertions } = readAssertions(read("policy.test.yaml"), name, [...policy.listeners.keys()], Date.now());
    const failed = runAssertions(new PolicyEngine(policy, directoryOf(principalsOf(names, name))), assertions).filter(
      ({ passed }) => !passed,
    );
    expect(failed).toEqual([]);
  });

  it("has the catalogue that `hawser policy docs` writes", () => {
    expect(read("topics.md")).toBe(toMarkdown(catalogue(policy)));
    expect(JSON.parse(read("asyncapi.json"))).toEqual(asyncApi(policy, "localhost"));
  });
});
