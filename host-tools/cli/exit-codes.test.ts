import { expect, test } from "vitest";
import { EXIT, EXIT_MEANINGS, exitCodeFor } from "./exit-codes.js";

test.each([
  ["USAGE", 2],
  ["INVALID_ID", 2],
  ["WRONG_PASSPHRASE", 3],
  ["SERVER_NAME_MISMATCH", 3],
  ["KEY_MISMATCH", 3],
  ["CONNECTION_REFUSED", 4],
  ["PORT_IN_USE", 4],
  ["SERIAL_IN_USE", 4],
  ["VAULT_EXISTS", 5],
  ["NOT_A_CA", 6],
  ["VAULT_CORRUPT", 6],
  ["INTERRUPTED", 130],
  ["INTERNAL", 1],
  ["A_CODE_OF_TOMORROW", 1],
])("%s ends with %i", (code, exit) => {
  expect(exitCodeFor(code)).toBe(exit);
});

test("every exit code is explained", () => {
  for (const code of Object.values(EXIT)) expect(EXIT_MEANINGS[code]).toMatch(/\w/);
});
