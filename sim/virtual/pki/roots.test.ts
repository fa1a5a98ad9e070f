import { describe, expect, it } from "vitest";
import { base64Decode } from "../../../sdk/encoding/text.js";
import { readCertificate } from "../../../sdk/identity/certificate.js";
import { judgeOffer } from "../../../sdk/identity/anchor-offer.js";
import { Roots, type Offer } from "./roots.js";

const serialOf = (der: Uint8Array): string => readCertificate(der).serial;
const decoded = ({ anchors = [], links = [] }: Offer): { anchors: Uint8Array[]; links: Uint8Array[] } => ({
  anchors: anchors.map(base64Decode),
  links: links.map(base64Decode),
});

describe("the roots of the virtual CA", () => {
  function roots(...devices: string[]): Roots {
    let serials = 0;
    const made = new Roots({ notBeforeMs: 0, notAfterMs: 1e12 }, () => Uint8Array.of(1, ++serials));
    for (const device of devices) made.devices.add(device);
    return made;
  }

  it("offer a new one beside the old, and leave the broker at the old one until the last device has said that it has both", () => {
    const ours = roots("dev-1", "dev-2");
    const old = ours.serving;
    const told: Uint8Array[] = [];
    ours.onServing = (root) => told.push(root);
    expect(ours.offerTo([serialOf(old)])).toEqual({});
    ours.begin();
    const { added, superseded } = judgeOffer([old], decoded(ours.offerTo([serialOf(old)])), {
      leadsTo: (chain, anchors) => ours.leadsTo(chain, anchors),
    });
    expect([added.length, superseded, ours.serving]).toEqual([1, [], old]);
    const both = [...added, old].map(serialOf);
    ours.heard("dev-1", both);
    ours.heard("dev-2", [serialOf(old)]);
    expect(told).toEqual([]);
    ours.heard("dev-2", both);
    expect([told, ours.serving, ours.predecessor(added[0] as Uint8Array)]).toEqual([added, added[0], old]);
    const later = decoded(ours.offerTo(both));
    expect(judgeOffer([...added, old], later, { leadsTo: () => true })).toEqual({ added: [], superseded: [old] });
  });

  it("lead a device over two changes that it slept through", () => {
    const ours = roots("dev-1");
    const first = ours.serving;
    for (let change = 0; change < 2; change++) {
      ours.begin();
      ours.heard("dev-1", decoded(ours.offerTo([])).anchors.map(serialOf));
    }
    const offer = decoded(ours.offerTo([serialOf(first)]));
    const chains = { leadsTo: (chain: readonly Uint8Array[], anchors: readonly Uint8Array[]) => ours.leadsTo(chain, anchors) };
    expect(judgeOffer([first], offer, chains)).toEqual({ added: [ours.serving], superseded: [first] });
  });

  it("vouch for nothing that they did not sign, nor across a gap in the chain", () => {
    const ours = roots("dev-1");
    const first = ours.serving;
    ours.begin();
    const [second = first] = decoded(ours.offerTo([])).anchors;
    expect([ours.leadsTo([second], [first]), ours.leadsTo([Uint8Array.of(1)], [first]), ours.leadsTo([], [first])]).toEqual([
      false,
      false,
      false,
    ]);
    expect(ours.leadsTo([first], [first])).toBe(true);
  });
});
