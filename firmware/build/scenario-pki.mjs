/**
 * Certificates for the Linux scenario, made with openssl: CAs, a broker's, those of its other clients, and the sensor's from its own
 * requests.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const DAYS = "2";

export class ScenarioPki {
  #folder;
  #count = 0;

  constructor(folder) {
    this.#folder = folder;
    for (const name of ["ca", "staff-ca", "other-ca"]) this.#authority(name);
    // A device believes the verdict of a server's certificate alone.
    const forServers = "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth";
    this.issue("server", "/CN=localhost", "ca", forServers);
    this.issue("other-server", "/CN=localhost", "other-ca", forServers);
    for (const name of ["watcher", "authority"]) this.issue(name, `/CN=${name}`, "staff-ca", "basicConstraints=CA:FALSE");
    this.#bundle("clients.crt", ["ca.crt", "staff-ca.crt"]);
    this.revoke();
    this.#openssl("x509", "-in", this.path("ca.crt"), "-outform", "der", "-out", this.path("ca.der"));
  }

  path(name) {
    return join(this.#folder, name);
  }

  /** NAME.key and NAME.crt. */
  issue(name, subject, authority, extension) {
    this.#openssl("req", "-new", ...EC_KEY, "-keyout", this.path(`${name}.key`), "-subj", subject, "-out", this.path(`${name}.csr`));
    this.sign(this.path(`${name}.csr`), "PEM", this.path(`${name}.crt`), "PEM", authority, extension);
  }

  /** A certificate for a request, in the form asked for. */
  sign(request, requestForm, certificate, certificateForm, authority = "ca", extension = "basicConstraints=CA:FALSE") {
    const extensions = this.path(`extensions-${++this.#count}`);
    writeFileSync(extensions, extension);
    const by = [
      "-CA",
      this.path(`${authority}.crt`),
      "-CAkey",
      this.path(`${authority}.key`),
      "-CAcreateserial",
      "-extfile",
      extensions,
      "-days",
      DAYS,
    ];
    this.#openssl(
      "x509",
      "-req",
      "-sha256",
      "-in",
      request,
      "-inform",
      requestForm,
      ...by,
      "-outform",
      certificateForm,
      "-out",
      certificate,
    );
  }

  /** Makes `clients.crl`: the certificate of `ca` with this serial, hex, is revoked; without one, none is. */
  revoke(serial) {
    const list = (authority, entries) => {
      const settings = this.path(`${authority}.cnf`);
      const index = this.path(`${authority}.index`);
      writeFileSync(index, entries);
      writeFileSync(settings, `[ca]\ndefault_ca = this\n[this]\ndatabase = ${index}\ndefault_md = sha256\ndefault_crl_days = ${DAYS}\n`);
      const by = ["-config", settings, "-keyfile", this.path(`${authority}.key`), "-cert", this.path(`${authority}.crt`)];
      this.#openssl("ca", "-gencrl", ...by, "-out", this.path(`${authority}.crl`));
    };
    const padded = serial === undefined ? "" : serial.padStart(serial.length + (serial.length % 2), "0").toUpperCase();
    list("ca", padded === "" ? "" : `R\t491231235959Z\t200101000000Z\t${padded}\tunknown\t/CN=sensor\n`);
    list("staff-ca", "");
    this.#bundle("clients.crl", ["ca.crl", "staff-ca.crl"]);
  }

  #bundle(file, parts) {
    writeFileSync(this.path(file), parts.map((name) => readFileSync(this.path(name), "utf8")).join(""));
  }

  #authority(name) {
    const subject = ["-subj", `/CN=Scenario ${name}`, "-days", DAYS];
    this.#openssl("req", "-x509", ...EC_KEY, "-keyout", this.path(`${name}.key`), ...subject, "-out", this.path(`${name}.crt`));
  }

  #openssl(...words) {
    execFileSync("openssl", words, { stdio: ["ignore", "ignore", "pipe"] });
  }
}

const EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"];
