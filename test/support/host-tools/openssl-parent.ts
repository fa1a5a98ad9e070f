/** For tests: another PKI, made by OpenSSL alone: a root, a CA below it, and their revocation lists. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export class OpensslParent {
  readonly #made: string[] = [];

  /** @param key for `openssl genpkey`, such as `RSA` or `EC` */
  constructor(
    readonly directory: string,
    private readonly key: readonly string[],
    private readonly hash = "sha256",
  ) {
    this.root();
  }

  /** PEM of a CA's certificate. */
  certificate(ca: string): string {
    return readFileSync(join(this.directory, `${ca}.crt`), "utf8");
  }

  root(ca = "root"): void {
    this.#newKey(ca);
    this.#openssl(
      "req",
      "-new",
      "-x509",
      `-${this.hash}`,
      "-key",
      `${ca}.key`,
      "-out",
      `${ca}.crt`,
      "-days",
      "7000",
      "-subj",
      `/O=Example Works/CN=Works ${ca}`,
      "-addext",
      "keyUsage=critical,keyCertSign,cRLSign",
    );
    this.#made.push(ca);
  }

  /** A CA below another. */
  below(issuer: string, ca: string): void {
    this.#newKey(ca);
    this.#openssl("req", "-new", "-key", `${ca}.key`, "-out", `${ca}.csr`, "-subj", `/O=Example Works/CN=Works ${ca}`);
    this.sign(issuer, readFileSync(join(this.directory, `${ca}.csr`), "utf8"), ca, "basicConstraints=critical,CA:TRUE");
    this.#made.push(ca);
  }

  /** Signs a request as that of a subordinate CA; returns the certificate. */
  sign(
    issuer: string,
    csrPem: string,
    name: string,
    constraints = "basicConstraints=critical,CA:TRUE,pathlen:0",
    ...more: string[]
  ): string {
    writeFileSync(join(this.directory, `${name}.csr`), csrPem);
    const extensions = [
      constraints,
      "keyUsage=critical,keyCertSign,cRLSign",
      "subjectKeyIdentifier=hash",
      "authorityKeyIdentifier=keyid",
      ...more,
    ];
    writeFileSync(join(this.directory, "ext"), extensions.join("\n"));
    this.#openssl(
      "x509",
      "-req",
      `-${this.hash}`,
      "-in",
      `${name}.csr`,
      "-CA",
      `${issuer}.crt`,
      "-CAkey",
      `${issuer}.key`,
      "-CAcreateserial",
      "-days",
      "1500",
      "-extfile",
      "ext",
      "-out",
      `${name}.crt`,
    );
    return this.certificate(name);
  }

  /** Revocation lists of all its CAs, PEM. */
  lists(days = 30): string {
    return this.#made.map((ca) => this.list(ca, days)).join("");
  }

  list(ca: string, days = 30): string {
    writeFileSync(join(this.directory, "index"), "");
    writeFileSync(
      join(this.directory, "ca.cnf"),
      `[ca]\ndefault_ca=c\n[c]\ndatabase=${join(this.directory, "index")}\ndefault_md=sha256\n`,
    );
    this.#openssl(
      "ca",
      "-gencrl",
      "-config",
      "ca.cnf",
      "-cert",
      `${ca}.crt`,
      "-keyfile",
      `${ca}.key`,
      "-crldays",
      String(days),
      "-out",
      `${ca}.crl`,
    );
    return readFileSync(join(this.directory, `${ca}.crl`), "utf8");
  }

  #newKey(ca: string): void {
    this.#openssl("genpkey", ...this.key, "-out", `${ca}.key`);
  }

  #openssl(...parameters: string[]): void {
    execFileSync("openssl", parameters, { cwd: this.directory, stdio: "pipe" });
  }
}
