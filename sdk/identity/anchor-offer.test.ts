/** Which trust anchors a device takes, judged by real signatures. */
import { describe, expect, it } from "vitest";
import { nodeChainVerifier } from "../../sim/node/node-chain-verifier.js";
import { certify, linkOf, testRoot } from "../../test/support/device/test-roots.js";
import { judgeOffer, type JudgedOffer } from "./anchor-offer.js";

const [first, second, third, stranger] = [await testRoot(), await testRoot(), await testRoot(), await testRoot()];
const [toFirst, toSecond] = [await linkOf(second, first), await linkOf(third, second)];

const judge = (present: readonly Uint8Array[], anchors: readonly Uint8Array[], ...links: readonly Uint8Array[]): JudgedOffer =>
  judgeOffer(present, { anchors, links }, nodeChainVerifier);
const untrusted = expect.objectContaining({ code: "UNTRUSTED_ANCHOR" }) as Error;

describe("an offer of trust anchors", () => {
  it("adds the root that the present one has signed, and gives up none that it names", () => {
    expect(judge([first.der], [second.der, first.der], toFirst)).toEqual({ added: [second.der], superseded: [] });
  });

  it("leads over a root that the device has never had", () => {
    expect(judge([first.der], [third.der], toSecond, toFirst)).toEqual({ added: [third.der], superseded: [first.der] });
    expect(judge([first.der], [second.der, third.der], toSecond, toFirst)).toEqual({
      added: [third.der, second.der],
      superseded: [first.der],
    });
  });

  it("gives up an older root that it no longer names, but none of another CA", async () => {
    const other = await testRoot("CN=Another CA");
    expect(judge([second.der, other.der, first.der], [second.der], toFirst)).toEqual({ added: [], superseded: [first.der] });
  });

  it("adds nothing without a link, by a link of another root, or by one for another key", async () => {
    expect(() => judge([first.der], [second.der])).toThrow(untrusted);
    const byStranger = await linkOf(second, stranger);
    expect(() => judge([first.der], [second.der], byStranger)).toThrow(untrusted);
    expect(() => judge([first.der], [stranger.der], toFirst)).toThrow(untrusted);
    expect(() => judge([first.der], [third.der], toSecond)).toThrow(untrusted);
    expect(() => judge([], [second.der], toFirst)).toThrow(untrusted);
  });

  it("adds nothing of which one is not vouched for", () => {
    expect(() => judge([first.der], [second.der, stranger.der], toFirst)).toThrow(untrusted);
  });

  it("makes no anchor of an issuing CA, nor of what that signs", async () => {
    const issuing = await testRoot("CN=Plant Issuing CA");
    const certificate = await certify(issuing.keys, issuing.name, first.name, first.keys);
    expect(() => judge([first.der], [issuing.der], certificate)).toThrow(untrusted);
    const thief = await testRoot();
    const bySameName = await certify(thief.keys, first.name, first.name, issuing.keys);
    expect(() => judge([first.der], [thief.der], bySameName, certificate)).toThrow(untrusted);
    const byIssuing = await certify(thief.keys, issuing.name, issuing.name, issuing.keys);
    expect(() => judge([first.der], [thief.der], byIssuing, certificate)).toThrow(untrusted);
  });

  it("takes no root back: what was said before a rollover and comes again changes nothing", () => {
    expect(() => judge([second.der], [second.der, first.der], toFirst)).toThrow(untrusted);
    expect(() => judge([second.der], [first.der], toFirst)).toThrow(untrusted);
    expect(judge([second.der, first.der], [first.der], toFirst)).toEqual({ added: [], superseded: [] });
    expect(judge([second.der, first.der], [])).toEqual({ added: [], superseded: [] });
  });

  it("is refused where it cannot be read", () => {
    expect(() => judge([first.der], [Uint8Array.of(1, 2, 3)], toFirst)).toThrow(
      expect.objectContaining({ code: "BAD_CERTIFICATE" }) as Error,
    );
    expect(() => judge([first.der], [second.der], Uint8Array.of(1, 2, 3))).toThrow(
      expect.objectContaining({ code: "BAD_CERTIFICATE" }) as Error,
    );
  });
});
