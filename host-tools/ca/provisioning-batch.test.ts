import { afterEach, describe, expect, it } from "vitest";
import { Scene, testKey } from "../../test/support/host-tools/scene.js";
import { openCa } from "./certificate-authority.js";
import { MOST_IN_BATCH } from "./provisioning-batch.js";
import { PASSPHRASE } from "../../test/support/host-tools/scene.js";

const scene = new Scene();
afterEach(() => scene.clean());

const LONGEST_ID = "d".repeat(59);

describe("provisioning a batch", () => {
  it("lets in the largest one with the longest names, and leaves a CA that opens and changes", async () => {
    const ca = await scene.ca();
    const ids = Array.from({ length: MOST_IN_BATCH }, (_, n) => `${LONGEST_ID}-${String(n).padStart(3, "0")}`);
    const devices = await Promise.all(ids.map(async (id) => ({ id, csr: (await testKey(id)).csr })));
    const made = await ca.provisionBatch({ role: "sensor", devices });
    expect(made.map(({ id }) => id)).toEqual(ids);
    const again = await openCa(ca.directory, PASSPHRASE);
    await again.issueClient({ name: "tool", role: "monitor" });
    expect((await again.list()).filter(({ state }) => state === "active")).toHaveLength(MOST_IN_BATCH + 1);
  });

  it("takes all or none: one name that is there already refuses the batch", async () => {
    const ca = await scene.ca();
    await ca.provisionBatch({ role: "sensor", devices: [{ id: "one", csr: (await testKey("one")).csr }] });
    const devices = await Promise.all(["two", "one"].map(async (id) => ({ id, csr: (await testKey(id)).csr })));
    await expect(ca.provisionBatch({ role: "sensor", devices })).rejects.toMatchObject({ code: "ID_EXISTS" });
    expect((await ca.list()).map(({ name }) => name)).toEqual(["one"]);
  });

  it("refuses more than a change can name, before it looks at any", async () => {
    const ca = await scene.ca();
    const devices = Array.from({ length: MOST_IN_BATCH + 1 }, () => ({ id: "x", csr: new Uint8Array() }));
    await expect(ca.provisionBatch({ role: "sensor", devices })).rejects.toMatchObject({ code: "BAD_NUMBER" });
  });
});
