/**
 * The enrolment authority of the Linux scenario (docs/protocol.md, "Enrolment"): answers a device's requests over MQTT, signing with
 * openssl.
 */
import { readFileSync, writeFileSync } from "node:fs";

const REQUEST = /^devices\/([^/]+)\/identity\/request (\{.*\})$/;

export class ScenarioAuthority {
  #pki;
  #client;
  #count = 0;

  /** @param client starts mosquitto_sub or mosquitto_pub with words of its own */
  constructor(pki, client) {
    this.#pki = pki;
    this.#client = client;
  }

  /** Once for each broker. What the broker says of itself is retained and comes when the subscription stands. */
  async start() {
    const requests = this.#client(
      "mosquitto_sub",
      "-q",
      "1",
      "-F",
      "%t %p",
      "-t",
      "devices/+/identity/request",
      "-t",
      "$SYS/broker/version",
    );
    requests.each((line) => {
      const [, id, text] = REQUEST.exec(line) ?? [];
      if (id !== undefined) this.#answer(id, JSON.parse(text));
    });
    await requests.line(/^\$SYS/);
  }

  #answer(id, { type, requestId, csr }) {
    if (type !== "enrol") return;
    const path = this.#pki.path(`enrolment-${++this.#count}`);
    writeFileSync(`${path}.csr`, Buffer.from(csr, "base64"));
    this.#pki.sign(`${path}.csr`, "DER", `${path}.der`, "DER");
    const answer = JSON.stringify({ v: 1, requestId, chain: [readFileSync(`${path}.der`).toString("base64")] });
    this.#client("mosquitto_pub", "-q", "1", "-t", `devices/${id}/identity/response`, "-m", answer);
  }
}
