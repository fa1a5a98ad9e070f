import { afterEach, expect, test } from "vitest";
import { Scene } from "../../test/support/host-tools/scene.js";
import { BUNDLE_SIGNER, openBundle, rootsIn, sequenceOf, signBundle } from "./bundle.js";
import type { BundleContent } from "./bundle.js";
import { newIssuer } from "../../test/support/host-tools/bundle-issuer.js";

const scene = new Scene();
afterEach(() => scene.clean());

const AGENT = "ab".repeat(32);
const NOW_MS = Date.now();
const content = (changes: Partial<BundleContent> = {}): BundleContent => ({
  agent: AGENT,
  sequence: 7,
  issuedAtMs: NOW_MS,
  user: "mosquitto",
  probe: { host: "localhost", port: 1 },
  files: { "mosquitto.conf": "listener 1\n" },
  ...changes,
});

test("a bundle counts when the CA's key signed it, for this agent, and it is newer", async () => {
  const ca = await newIssuer();
  const signer = await ca.leaf(BUNDLE_SIGNER);
  const text = signBundle(content(), signer);
  const expected = { agent: AGENT, roots: ca.rootPem, newerThan: 6 };
  expect(openBundle(text, expected)).toEqual(content());
  expect([sequenceOf(text), sequenceOf("x"), sequenceOf(undefined)]).toEqual([7, 0, 0]);
  expect(rootsIn(`${signer.chainPem}${ca.rootPem}`)).toBe(ca.rootPem);

  const other = await newIssuer();
  const bent = JSON.parse(text) as { content: string; chain: string };
  const cases: [string, string, Partial<typeof expected>][] = [
    ["it is not newer", text, { newerThan: 7 }],
    ["it is for another broker", text, { agent: "cd".repeat(32) }],
    ["does not lead to a root", text, { roots: other.rootPem }],
    ["its signature is wrong", JSON.stringify({ ...bent, content: bent.content.replace("listener 1", "listener 2") }), {}],
    ["the number it shows", text.replace('"sequence":7', '"sequence":8'), {}],
    ["it is not a bundle", JSON.stringify({ ...bent, content: "no JSON" }), {}],
    ["its signer has another name", signBundle(content(), await ca.leaf("sensor-1")), {}],
    ["chain is broken", JSON.stringify({ ...bent, chain: `${(await other.leaf(BUNDLE_SIGNER)).chainPem}` }), {}],
    ["its signer had expired", signBundle(content({ issuedAtMs: NOW_MS + 3_600_000 }), signer), {}],
    ["its signer had expired", signBundle(content({ issuedAtMs: NOW_MS - 3_600_000 }), signer), {}],
    ["it is not a bundle", signBundle(content({ files: { "../passwd": "" } }), signer), {}],
    ["it is not a bundle", signBundle(content({ files: { "a/b": "" } }), signer), {}],
    ["it is not a bundle", "{}", {}],
    ["it is not a bundle", "no JSON", {}],
  ];
  for (const [why, bundle, changes] of cases) {
    expect(() => openBundle(bundle, { ...expected, ...changes }), why).toThrow(
      expect.objectContaining({ code: "BUNDLE_REFUSED", message: expect.stringContaining(why.replace("chain is broken", "")) as string }),
    );
  }
});
