/** Certificates for the Linux scenario, made with openssl: a CA, a broker's, a watcher's, and the sensor's from its own request. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const DAYS = "2";

export class ScenarioPki {
  #folder;
  #count = 0;

  constructor(folder) {
    this.#folder = folder;
    this.#authority("ca");
    this.#authority("other-ca");
    this.issue("server", "/CN=localhost", "ca", "subjectAltName=DNS:localhost");
    this.issue("other-server", "/CN=localhost", "other-ca", "subjectAltName=DNS:localhost");
    this.issue("watcher", "/CN=watcher", "ca", "basicConstraints=CA:FALSE");
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
    const by = ["-CA", this.path(`${authority}.crt`), "-CAkey", this.path(`${authority}.key`), "-CAcreateserial", "-extfile", extensions, "-days", DAYS];
    this.#openssl("x509", "-req", "-sha256", "-in", request, "-inform", requestForm, ...by, "-outform", certificateForm, "-out", certificate);
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
