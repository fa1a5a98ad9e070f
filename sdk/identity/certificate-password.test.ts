import { createHmac } from "node:crypto";
import { expect, it } from "vitest";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { certificatePassword } from "./certificate-password.js";

it("is another password for each certificate, made of the pre-shared key as docs/protocol.md says", () => {
  const keyStore = memoryKeyStore();
  const login = certificatePassword(keyStore);
  const shown = (serial: string): { certificate: { serial: string } } => ({ certificate: { serial } });
  expect(() => login(shown("1a"))).toThrow(expect.objectContaining({ code: "KEY_MISSING" }));
  const psk = Buffer.alloc(32, 7);
  keyStore.importPsk("psk", psk);
  expect(login(shown("1a"))).toEqual({ password: createHmac("sha256", psk).update("hawser password\n1a").digest("base64url") });
  expect(login(shown("1b"))).not.toEqual(login(shown("1a")));
  expect(login()).toEqual({});
});
