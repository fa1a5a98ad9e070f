import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { FleetSite } from "./fleet-site.js";

it("says why its authority cannot start, instead of waiting for it for ever", async () => {
  const site = new FleetSite({ engine: "embedded", devices: 1 });
  try {
    await site.build();
    await site.startBroker();
    rmSync(join(site.directory, "ca"), { recursive: true });
    await expect(site.startAuthority()).rejects.toMatchObject({ name: "HawserError" });
  } finally {
    await site.strike();
  }
});
