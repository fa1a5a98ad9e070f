import { describe, expect, it } from "vitest";
import { weaknessOf } from "./passphrase-strength.js";

describe("a new passphrase", () => {
  it("is weak when it is short, repeats itself or is what everybody tries first", () => {
    const weak = [
      "",
      "x",
      "hunter2",
      "nine char",
      "aaaaaaaaaaaaaaaa",
      "abababababababab",
      "hunter2hunter2",
      "password1234",
      "Passwort2024!",
      "123456789012",
      "abcdefghijklmnop",
    ];
    for (const text of [
      ...weak,
      "qwertyuiop123",
      "HawserHawser1",
      "admin-admin-admin-1",
      "letmein letmein 1",
      "zyxwvutsrqpo",
      "000000000000000",
    ])
      expect([text, typeof weaknessOf(text)]).toEqual([text, "string"]);
  });

  it("passes when it is long enough and somebody's own", () => {
    const good = [
      "correct horse battery staple",
      "a passphrase of your own",
      "attack-secret-pass-77",
      "correct-horse-battery-staple",
      "of this run only",
      "kT9vLw2xRq7m",
      "4f1c9a2be07d5c3388aa",
      "83920174650293847561",
    ];
    for (const text of [...good, "hovercraft full of eels", "Fünf Äpfel im Korb"])
      expect([text, weaknessOf(text)]).toEqual([text, undefined]);
  });
});
