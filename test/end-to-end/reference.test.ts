// `npm run docs`: the API reference that typedoc makes from the docstrings of the public face.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../support/host-tools/test-cli.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

test("npm run docs makes a page for each class of the public face, with no link or type left open", { timeout: 300_000 }, () => {
  const out = join(temporaryDirectory(), "reference");
  // A warning, such as a type that no entry point exports, ends it with an error.
  execFileSync("npm", ["run", "--silent", "docs", "--", "--out", out], { cwd: ROOT, stdio: "pipe" });
  const classes = join(out, "classes");
  for (const name of ["hawser.Device", "hawser_mqtt.MqttClient", "hawser_node.Vault", "hawser_node.MqttClient"])
    expect(existsSync(join(classes, `${name}.html`)), name).toBe(true);
  const page = readFileSync(join(classes, "hawser.Device.html"), "utf8");
  expect(page).toContain("Idempotent");
});
