import { expect, it } from "vitest";
import { installIdentity } from "../../sdk/identity/store.js";
import { FleetStores } from "./fleet-client.js";
import type { FleetIdentity } from "./fleet-plan.js";
import { fleetBase, idIn, topicOf } from "./fleet-topics.js";

function identity(id: string, base?: string): FleetIdentity {
  const { storage, keyStore, kept } = kit(id);
  const topics = base === undefined ? undefined : { base, identity: `who/${id}` };
  installIdentity(storage, keyStore, { id, role: "sensor", trustAnchors: [], topics });
  return kept();
}

function kit(id: string) {
  const stores = new FleetStores({ id, records: {}, keys: {} });
  return { storage: stores.storage, keyStore: stores.keyStore, kept: () => stores.kept() };
}

it("a fleet's base is that of its devices' identities, with a place for their ids", () => {
  expect(fleetBase([identity("a"), identity("b")])).toBe("devices/{id}");
  const base = fleetBase([identity("a", "sites/a-1/a"), identity("b", "sites/a-1/b")]);
  expect(base).toBe("sites/a-1/{id}");
  expect(topicOf(base, "a", "up/x")).toBe("sites/a-1/a/up/x");
  expect(idIn(base, "sites/a-1/b/up/x")).toBe("b");
});

it.each([
  ["devices share it", ["v1/devices/me", "v1/devices/me"]],
  ["devices have others", ["sites/b1/a", "sites/b2/b"]],
])("a fleet is refused where %s", (_, [one, two]) => {
  expect(() => fleetBase([identity("a", one), identity("b", two)])).toThrow(expect.objectContaining({ code: "INVALID_TOPIC" }));
});
