/** Exports: headers that other systems depend on, cells that are no formulas, limits of the clouds, and PKCS#12 that OpenSSL opens. */
import { execFileSync } from "node:child_process";
import { createHash, createPrivateKey } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseCsv } from "../images/csv.js";
import type { ExportDevice, ExportMaterial } from "../ca/exporting.js";
import { fromPem } from "../pki/pem.js";
import { GOLDEN_FILES } from "../../test/support/host-tools/secure-cert-golden.js";
import { awsBulk, awsBulkTemplate, awsJitp } from "./aws.js";
import { azureGroup, azureIndividual } from "./azure.js";
import { formulaSafe, writeCsv } from "./csv-writer.js";
import { emqxUsers } from "./emqx.js";
import { ERP_COLUMNS, erpCsv } from "./erp.js";
import type { ErpColumn } from "./erp.js";
import { writePkcs12 } from "./pkcs12.js";
import { registryJson } from "./registry-json.js";
import { stationFacts } from "./station-facts.js";
import type { LedgerEvent } from "../station/factory/ledger-records.js";

const [der = new Uint8Array()] = fromPem("CERTIFICATE", GOLDEN_FILES["g.crt"] ?? "");
const device = (id: string, attributes: Record<string, string> = {}): ExportDevice => ({
  id,
  role: "sensor",
  state: "active",
  attributes,
  serial: "4f01",
  notBeforeMs: 0,
  notAfterMs: 86_400_000,
  publicKeySha256: "aa",
  certificateSha256: "bb",
  chain: [der, der],
});
const material = (...ids: string[]): ExportMaterial => ({ root: der, issuing: der, devices: ids.map((id) => device(id)) });

describe("an export", () => {
  it("for an ERP has its columns in their order, and no cell that is a formula", () => {
    const csv = erpCsv(
      [device("sensor-1", { mac: "=cmd|'/c calc'!A1", batch: 'A;"7"', order: "-4711", station: "\tx", operator: "@sum" })],
      { labels: new Map([["sensor-1", "cc"]]), separator: ";" },
    );
    expect(csv).toMatch(
      /^\ufeffid;serial;mac;role;batch;order;station;operator;certificate_serial;certificate_sha256;not_before;not_after;public_key_sha256;firmware_sha256;result;seconds;label_sha256\r\n/,
    );
    expect(csv.split("\r\n")[1]).toBe(
      `sensor-1;;'=cmd|'/c calc'!A1;sensor;"A;""7""";'-4711;"'\tx";'@sum;4f01;bb;1970-01-01T00:00:00.000Z;1970-01-02T00:00:00.000Z;aa;;;;cc`.replace(
        '"\'\tx"',
        "'\tx",
      ),
    );
    for (const cell of ["=1", "+1", "-1", "@a", " =1", "\t=1", "\r1", '"=1', "\uff1d1"]) expect(formulaSafe(cell), cell).toBe(`'${cell}`);
    for (const cell of ["a=1", "1-2", "", "sensor-1"]) expect(formulaSafe(cell)).toBe(cell);
    expect(parseCsv(writeCsv([["a,b", 'q"', "x\ny", " s "]]))[0]?.cells).toEqual(["a,b", 'q"', "x\ny", " s "]);
  });

  it("for an ERP has what the station's ledger says of the board", () => {
    const at = "2026-01-01T00:00:00.000Z";
    const events = [
      { event: "session", operator: "alice", order: "4711", product: "meter", role: "sensor", attributes: {}, firmware: "AB".repeat(32) },
      { event: "reserved", id: "sensor-1", mac: "a0b1c2d3e4f5", head: "3", order: "4711", role: "sensor" },
      { event: "step", id: "sensor-1", step: "passed", phase: "observed", facts: { seconds: 5.5 } },
      { event: "session", operator: "bob", order: "4712", product: "meter", role: "sensor", attributes: {} },
      { event: "reserved", id: "sensor-2", head: "4", order: "4712", role: "sensor" },
    ] as LedgerEvent[];
    const facts = stationFacts(events.map((event, index) => ({ ...event, n: index + 1, at, prev: "" })));
    const [, one, two] = parseCsv(erpCsv([device("sensor-1"), device("sensor-2")], { facts }));
    const cell = (row: { cells: readonly string[] } | undefined, name: ErpColumn): string | undefined =>
      row?.cells[ERP_COLUMNS.indexOf(name)];
    expect((["mac", "order", "station", "operator", "result", "firmware_sha256"] as const).map((name) => cell(one, name))).toEqual([
      "a0b1c2d3e4f5",
      "4711",
      "3",
      "alice",
      "passed",
      "ab".repeat(32),
    ]);
    expect((["mac", "order", "operator", "result"] as const).map((name) => cell(two, name))).toEqual(["", "4712", "bob", "reserved"]);
  });

  it("for AWS is a line a device whose names are the template's parameters", () => {
    const lines = awsBulk(material("sensor-1", "sensor-2"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, string>);
    const template = JSON.parse(awsBulkTemplate("devices")) as { Parameters: object };
    expect(lines.map(Object.keys)).toEqual([Object.keys(template.Parameters), Object.keys(template.Parameters)]);
    expect(lines[0]).toMatchObject({
      ThingName: "sensor-1",
      SerialNumber: "4f01",
      CertificatePem: expect.stringMatching(/^-----BEGIN CERTIFICATE-----\n/) as string,
    });
    const { templateBody, roleArn } = JSON.parse(awsJitp("devices", "arn:aws:iam::123456789012:role/jitp")) as {
      templateBody: string;
      roleArn: string;
    };
    expect([Object.keys((JSON.parse(templateBody) as { Parameters: object }).Parameters), roleArn]).toEqual([
      ["AWS::IoT::Certificate::CommonName", "AWS::IoT::Certificate::Id"],
      "arn:aws:iam::123456789012:role/jitp",
    ]);
    expect(() => awsBulk(material("plant.sensor-1"))).toThrow(
      expect.objectContaining({ code: "BAD_EXPORT", message: expect.stringContaining("plant.sensor-1") as string }),
    );
    expect(() => awsBulkTemplate('a"b')).toThrow(expect.objectContaining({ code: "BAD_EXPORT" }));
    expect(() => awsJitp("devices", "nonsense")).toThrow(expect.objectContaining({ code: "BAD_EXPORT" }));
  });

  it("for Azure is a group, or calls of ten", () => {
    expect(JSON.parse(azureGroup({ issuing: der }, "plant-7"))).toMatchObject({
      enrollmentGroupId: "plant-7",
      attestation: { type: "x509", x509: { signingCertificates: { primary: { certificate: Buffer.from(der).toString("base64") } } } },
    });
    const ids = Array.from({ length: 23 }, (_, index) => `s${index}`);
    const calls = azureIndividual(material(...ids))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { mode: string; enrollments: { registrationId: string }[] });
    expect(calls.map(({ mode, enrollments }) => [mode, enrollments.length])).toEqual([
      ["create", 10],
      ["create", 10],
      ["create", 3],
    ]);
    expect(calls.flatMap(({ enrollments }) => enrollments.map(({ registrationId }) => registrationId))).toEqual(ids);
    expect(() => azureIndividual(material("Sensor-1"))).toThrow(
      expect.objectContaining({ code: "BAD_EXPORT", message: expect.stringContaining("Sensor-1") as string }),
    );
  });

  it("for EMQX has hashes on one side and passwords on the other, and they fit", () => {
    const { users, passwords } = emqxUsers([{ id: "sensor-1" }, { id: "sensor-2" }]);
    const [head, ...rows] = users
      .trimEnd()
      .split("\n")
      .map((line) => line.split(","));
    expect(head).toEqual(["user_id", "password_hash", "salt", "is_superuser"]);
    const given = new Map(
      passwords
        .trimEnd()
        .split("\n")
        .slice(1)
        .map((line) => line.split(",") as [string, string]),
    );
    for (const [id = "", hash, salt = "", isSuperuser] of rows) {
      expect([hash, isSuperuser]).toEqual([
        createHash("sha256")
          .update((given.get(id) ?? "") + salt)
          .digest("hex"),
        "false",
      ]);
      expect(users).not.toContain(given.get(id));
    }
    expect(new Set(given.values()).size).toBe(2);
  });

  it("as JSON has no secret that was not asked for", () => {
    expect(JSON.parse(registryJson(material("sensor-1"), 0))).toMatchObject({
      version: 1,
      exportedAt: "1970-01-01T00:00:00.000Z",
      devices: [{ id: "sensor-1", serial: "4f01" }],
    });
    expect(registryJson(material("sensor-1"), 0)).not.toContain("psk");
    const withPsk = { ...material(), devices: [{ ...device("sensor-1"), psk: Buffer.from("0102", "hex") }] };
    expect(JSON.parse(registryJson(withPsk, 0))).toMatchObject({ devices: [{ psk: "0102" }] });
  });
});

describe("PKCS#12", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "hawser-p12-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const privateKey = createPrivateKey(GOLDEN_FILES["g.key"] ?? "");
  const open = (passphrase: string): string =>
    execFileSync("openssl", ["pkcs12", "-in", join(directory, "g.p12"), "-passin", "env:P12", "-nodes"], {
      encoding: "utf8",
      env: { ...process.env, P12: passphrase },
      stdio: ["ignore", "pipe", "pipe"],
    });

  it("is opened by OpenSSL with its passphrase, and with no other", () => {
    const passphrase = "gäteway passphrase";
    writeFileSync(join(directory, "g.p12"), writePkcs12({ certificates: [der, der], privateKey, passphrase, friendlyName: "gateway-1" }));
    const text = open(passphrase);
    expect(text.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(text).toContain("friendlyName: gateway-1");
    expect(createPrivateKey(text.slice(text.indexOf("-----BEGIN PRIVATE"))).equals(privateKey)).toBe(true);
    expect(() => open("another passphrase")).toThrow();
  });

  it("is not made with a weak passphrase or another's key", () => {
    const request = { certificates: [der], privateKey, passphrase: "long enough", friendlyName: "g" };
    expect(() => writePkcs12({ ...request, passphrase: "short" })).toThrow(expect.objectContaining({ code: "BAD_EXPORT" }));
    expect(() => writePkcs12({ ...request, privateKey: createPrivateKey(GOLDEN_FILES["g.rsa"] ?? "") })).toThrow(
      expect.objectContaining({ code: "BAD_EXPORT" }),
    );
  });
});
