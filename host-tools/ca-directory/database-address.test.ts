import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../../sim/brokers/free-port.js";
import { PostgresServer } from "../../test/support/host-tools/postgres-server.js";
import { addressText, parseDatabaseUrl } from "./database-address.js";
import { readUrlFile } from "./database-file.js";
import { postgresDriver } from "./postgres-driver.js";
import { PostgresLog } from "./postgres-log.js";

const folder = mkdtempSync(join(tmpdir(), "hawser-address-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the URL of a database", () => {
  it("names host, port, database, user and password, each decoded", () => {
    expect(parseDatabaseUrl("postgres://ha%40wser:s%2Fcret@[::1]:5433/plant%207\n")).toEqual({
      ...{ host: "::1", port: 5433, database: "plant 7", user: "ha@wser", password: "s/cret", tls: false },
    });
    expect(parseDatabaseUrl("postgresql://h@/d?host=/run/postgresql")).toMatchObject({ host: "/run/postgresql", port: 5432, password: "" });
  });

  it("is never repeated in a message with its password", () => {
    const address = parseDatabaseUrl("postgres://hawser:secret@db.example.com/plant");
    expect(addressText(address)).toBe("hawser@db.example.com:5432/plant");
    expect(addressText(parseDatabaseUrl("postgres://h:secret@/d?host=/run"))).toBe("h@/run/.s.PGSQL.5432/d");
    for (const wrong of [
      "hawser:secret@host",
      "http://h:secret@host/d",
      "postgres://h:secret@host/",
      "postgres://h:secret%@host/d",
      "postgres://h:secret@host/d?x=secret",
    ]) {
      let message = "";
      try {
        parseDatabaseUrl(wrong);
      } catch (error) {
        message = String(error);
      }
      expect(message, wrong).toMatch(/database cannot be reached by its URL/);
      expect(message).not.toContain("secret");
    }
  });

  it("has the server verified wherever it leaves the machine, and takes no weaker mode", () => {
    for (const host of ["db.example.com", "10.0.0.5", "[2001:db8::1]"]) {
      expect(parseDatabaseUrl(`postgres://h@${host}/d`).tls).toMatchObject({ rejectUnauthorized: true });
      for (const mode of ["disable", "allow", "prefer", "require", "verify-ca"])
        expect(() => parseDatabaseUrl(`postgres://h@${host}/d?sslmode=${mode}`), mode).toThrow(
          expect.objectContaining({ code: "BAD_URL" }) as Error,
        );
    }
  });

  it("is taken from a file that only its owner may read", () => {
    const file = join(folder, "url");
    writeFileSync(file, "postgres://h:secret@host/d\nanother line\n", { mode: 0o600 });
    expect(readUrlFile(file)).toBe("postgres://h:secret@host/d");
    const link = join(folder, "link");
    symlinkSync(file, link);
    expect(readUrlFile(link)).toBe("postgres://h:secret@host/d");
    chmodSync(file, 0o640);
    expect(() => readUrlFile(link)).toThrow(expect.objectContaining({ code: "REGISTRY_URL_EXPOSED" }) as Error);
    expect(() => readUrlFile(file)).toThrow(
      expect.objectContaining({ code: "REGISTRY_URL_EXPOSED", nextStep: `Run: chmod 600 ${file}` }) as Error,
    );
  });
});

describe("a server with TLS", () => {
  let server: PostgresServer;
  let port = 0;

  beforeAll(async () => {
    [port = 0] = await freePorts(1);
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=database", "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, ...subject],
      { stdio: "ignore" },
    );
    server = await PostgresServer.start({ port, key: readFileSync(key), cert: readFileSync(cert) });
  }, 60_000);
  afterAll(() => server.stop());

  const head = (query: string): Promise<unknown> =>
    new PostgresLog(parseDatabaseUrl(`postgres://hawser@127.0.0.1:${port}/postgres?sslmode=verify-full${query}`), "0").prepare();

  it("is talked to when its certificate is verified, and not otherwise", async () => {
    await head(`&sslrootcert=${join(folder, "cert.pem")}`);
    await expect(head("")).rejects.toMatchObject({
      code: "REGISTRY_AWAY",
      message: expect.stringMatching(/self-signed|SELF_SIGNED/) as string,
    });
  });

  it("is not talked to where the certificate is another host's", async () => {
    const address = parseDatabaseUrl(
      `postgres://hawser@127.0.0.1:${port}/postgres?sslmode=verify-full&sslrootcert=${join(folder, "cert.pem")}`,
    );
    const other = { ...address, tls: { ...(address.tls as object), host: "127.0.0.2" } };
    await expect(new PostgresLog(other, "0").prepare()).rejects.toMatchObject({ code: "REGISTRY_AWAY" });
  });
});

it("without the optional package, says what to install", () => {
  const load = (): never => {
    throw new Error("Cannot find module");
  };
  expect(() => postgresDriver(load)).toThrow(
    expect.objectContaining({ code: "POSTGRES_MISSING", nextStep: expect.stringContaining("npm install postgres@") as string }) as Error,
  );
});
