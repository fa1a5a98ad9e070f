/**
 * Broker certificates as users have them, each judged once by Node's dialer (OpenSSL) and once by the dialer of the chip (Mbed TLS, on the
 * XS host): one verdict, one code. A new rule of either engine begins with a row here.
 */
import "reflect-metadata";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer, type TLSSocket } from "node:tls";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import type { Credential } from "../../sdk/platform.js";
import { memoryKeyStore } from "../../sim/node/memory-stores.js";
import { NodeDialer } from "../../sim/node/node-dialer.js";
import { buildHost } from "../../sim/xs/host-build.js";
import { nativeParts } from "../../sim/xs/native-parts.js";
import { certify, type Hash, type Identity, type KeyKind, makeIdentity, type Wish } from "../native/native-certificates.js";
import { RecordedLink } from "../support/node/link-recorder.js";
import { ProgramFolder } from "../support/xs/program-folder.js";
import { RemoteXs } from "../support/xs/remote-xs.js";

const DAY_MS = 86_400_000;
const OLD = { notBefore: Date.now() - 3 * DAY_MS, notAfter: Date.now() - DAY_MS };
const FUTURE = { notBefore: Date.now() + DAY_MS, notAfter: Date.now() + 3 * DAY_MS };
const VERSIONS = ["TLSv1.3", "TLSv1.2"] as const;

interface Case {
  leaf: Identity;
  /** What the broker shows behind its leaf. */
  chain?: readonly Identity[];
  anchors?: readonly Identity[];
  name?: string;
}

const programs = new ProgramFolder();
const keys = memoryKeyStore();
let xs: RemoteXs;
let root: Identity;
let issuing: Identity;
let chains: { node: Uint8Array[]; xs: Uint8Array[] };

beforeAll(async () => {
  root = await authority("Table root");
  issuing = await authority("Table issuing", { issuer: root });
  const entry = fileURLToPath(new URL("../support/xs/remote-program.ts", import.meta.url));
  const { file } = await bundleDevice({ entry, outputFile: join(programs.path, "remote.mjs") });
  const native = await nativeParts(64);
  await buildHost({ bits: 64, native });
  xs = new RemoteXs(await programs.start({ program: file, bits: 64, native, keysFolder: join(programs.path, "keys"), inRom: "code" }));
  await xs.generate("key-a");
  keys.generate("key-a");
  const own = async (publicKey: Uint8Array): Promise<Uint8Array[]> => [
    (await certify(publicKey, { name: "dev1", client: true, issuer: root })).der,
  ];
  chains = { node: await own(keys.publicKey("key-a")), xs: await own(await xs.publicKey("key-a")) };
}, 600_000);
afterAll(() => programs.close());

function authority(name: string, wish: Partial<Wish> = {}): Promise<Identity> {
  return makeIdentity({ name, authority: true, ...wish });
}

function server(wish: Partial<Wish> = {}): Promise<Identity> {
  return makeIdentity({ name: "localhost", server: true, issuer: root, ...wish });
}

/** An extension of any kind. */
function extension(id: string, critical: boolean, hex: string): x509.Extension {
  return new x509.Extension(id, critical, new Uint8Array(Buffer.from(hex, "hex")));
}

const usage = (...ids: x509.ExtendedKeyUsageType[]): x509.Extension => new x509.ExtendedKeyUsageExtension(ids);
const localhost = (): x509.Extension => new x509.SubjectAlternativeNameExtension([{ type: "dns", value: "localhost" }]);
/** NameConstraints that permit the DNS name "localhost". */
const CONSTRAINTS = "300fa00d300b82096c6f63616c686f7374";
const anyUsage = "2.5.29.37.0";

/** What a dialer makes of the broker: "connected", or the code of the failure. */
async function verdicts(
  { leaf, chain = [], anchors = [root], name = "localhost" }: Case,
  version: (typeof VERSIONS)[number],
): Promise<[node: string, xs: string]> {
  const sockets = new Set<TLSSocket>();
  const pem = [leaf, ...chain].map((each) => each.pem).join("");
  const broker = createServer(
    { cert: pem, key: leaf.keyPem, minVersion: version, maxVersion: version, ciphers: "ALL:@SECLEVEL=0" },
    (socket) => {
      sockets.add(socket.on("error", () => undefined));
    },
  );
  broker.on("tlsClientError", () => undefined).listen(0, "127.0.0.1");
  await once(broker, "listening");
  const endpoint = { host: "127.0.0.1", port: (broker.address() as AddressInfo).port, serverName: name };
  const credential = (chain: Uint8Array[]): Credential => ({
    kind: "mtls",
    slot: "key-a",
    chain,
    trustAnchors: anchors.map(({ der }) => der),
  });
  const ends = [
    new RecordedLink(new NodeDialer(keys), endpoint, credential(chains.node)),
    new RecordedLink(xs.dialer(), endpoint, credential(chains.xs)),
  ].map(async (recorded) => {
    const end = await Promise.race([
      recorded.opened.then(
        () => "connected",
        () => undefined,
      ),
      recorded.ended.then(({ code }) => code),
    ]);
    recorded.link.close();
    return end ?? (await recorded.ended).code;
  });
  const [node = "", onXs = ""] = await Promise.all(ends);
  for (const socket of sockets) socket.destroy();
  broker.close();
  return [node, onXs];
}

type Row = [title: string, expected: string, make: () => Promise<Case>];

const keyed = (kind: KeyKind, issuer: KeyKind, hash: Hash, expected = "connected"): Row => [
  `a ${kind} certificate under a ${issuer} CA, signed with ${hash}`,
  expected,
  async () => {
    const ca = await authority("CA", { key: issuer, keyHash: hash });
    return { leaf: await server({ issuer: ca, key: kind, hash }), anchors: [ca] };
  },
];

/** So many bytes of DNS names beside "localhost". */
const names = (sizeBytes: number): string[] => [
  "localhost",
  ...Array.from({ length: Math.ceil(sizeBytes / 64) }, (_, n) => `${String(n).padStart(4, "0")}.${"gateway.".repeat(6)}example.com`),
];

const ROWS: Row[] = [
  keyed("P-256", "P-256", "SHA-256"),
  keyed("P-384", "P-384", "SHA-384"),
  keyed("P-384", "P-256", "SHA-256"),
  keyed("P-256", "P-384", "SHA-512"),
  keyed("RSA-2048", "P-256", "SHA-256"),
  keyed("RSA-2048", "RSA-4096", "SHA-384"),
  keyed("RSA-3072", "RSA-3072", "SHA-512"),
  keyed("RSA-4096", "RSA-4096", "SHA-256"),
  keyed("P-256", "PSS-2048", "SHA-256"),
  keyed("RSA-1024", "P-256", "SHA-256", "SERVER_CERTIFICATE_INVALID"),
  keyed("P-256", "RSA-1024", "SHA-256", "SERVER_CERTIFICATE_INVALID"),
  keyed("P-256", "RSA-2048", "SHA-1", "SERVER_CERTIFICATE_INVALID"),
  keyed("P-256", "P-256", "SHA-1", "SERVER_CERTIFICATE_INVALID"),
  // Neither offers such signatures, so that the broker has none.
  keyed("P-521", "P-256", "SHA-256", "TLS_FAILED"),

  ["a chain through an issuing CA", "connected", async () => ({ leaf: await server({ issuer: issuing }), chain: [issuing] })],
  ["a chain with its root", "connected", async () => ({ leaf: await server({ issuer: issuing }), chain: [issuing, root] })],
  ["a chain without its issuing CA", "SERVER_CA_UNKNOWN", async () => ({ leaf: await server({ issuer: issuing }) })],
  [
    "the issuing CA as the only anchor",
    "connected",
    async () => ({ leaf: await server({ issuer: issuing }), chain: [issuing], anchors: [issuing] }),
  ],
  [
    "the issuing CA as the only anchor, not sent",
    "connected",
    async () => ({ leaf: await server({ issuer: issuing }), anchors: [issuing] }),
  ],
  ["an anchor of another CA", "SERVER_CA_UNKNOWN", async () => ({ leaf: await server(), anchors: [await authority("Another")] })],
  [
    "an unknown CA and an expired certificate",
    "SERVER_CA_UNKNOWN",
    async () => ({ leaf: await server(OLD), anchors: [await authority("Another")] }),
  ],
  [
    "a CA of the same name with another key",
    "SERVER_CA_UNKNOWN",
    async () => ({ leaf: await server({ issuer: await authority("Table root") }) }),
  ],
  [
    "an issuer that is no CA",
    "SERVER_CA_UNKNOWN",
    async () => {
      const end = await makeIdentity({ name: "device", issuer: root });
      return { leaf: await server({ issuer: end }), chain: [end] };
    },
  ],
  [
    "an issuing CA below one that may have none",
    "SERVER_CA_UNKNOWN",
    async () => {
      const extensions = [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ];
      const last = await authority("Last", { issuer: root, extensions });
      const below = await authority("Below", { issuer: last });
      return { leaf: await server({ issuer: below }), chain: [below, last] };
    },
  ],
  [
    "a self-signed certificate as its own anchor",
    "connected",
    async () => {
      const own = await makeIdentity({ name: "localhost", extensions: [localhost()] });
      return { leaf: own, anchors: [own] };
    },
  ],
  [
    "a self-signed certificate",
    "SERVER_CA_UNKNOWN",
    async () => ({ leaf: await makeIdentity({ name: "localhost", extensions: [localhost()] }) }),
  ],
  [
    "the broker's own certificate, issued by a CA, as the anchor",
    "SERVER_CA_UNKNOWN",
    async () => {
      const own = await server();
      return { leaf: own, anchors: [own] };
    },
  ],
  [
    "an expired root beside the right one",
    "connected",
    async () => ({ leaf: await server(), anchors: [await authority("Old", OLD), root] }),
  ],
  [
    "a root and its expired predecessor of the same key",
    "connected",
    async () => ({ leaf: await server(), anchors: [await makeIdentity({ name: "Table root", authority: true, ...OLD }, root.keys), root] }),
  ],
  [
    "an expired root",
    "SERVER_CERTIFICATE_EXPIRED",
    async () => {
      const old = await authority("Old", OLD);
      return { leaf: await server({ issuer: old }), anchors: [old] };
    },
  ],
  [
    "a new root cross-signed by an old one, unknown and expired",
    "connected",
    async () => {
      const [old, fresh] = [await authority("Old", OLD), await authority("New")];
      const cross = await makeIdentity({ name: "New", authority: true, issuer: old }, fresh.keys);
      const below = await authority("Below", { issuer: fresh });
      return { leaf: await server({ issuer: below }), chain: [below, cross], anchors: [fresh] };
    },
  ],

  ["an expired certificate", "SERVER_CERTIFICATE_EXPIRED", async () => ({ leaf: await server(OLD) })],
  [
    "an expired certificate for another name",
    "SERVER_CERTIFICATE_EXPIRED",
    async () => ({ leaf: await server({ ...OLD, dnsNames: ["other"] }) }),
  ],
  ["a certificate not yet valid", "SERVER_CERTIFICATE_NOT_YET_VALID", async () => ({ leaf: await server(FUTURE) })],
  [
    "an expired issuing CA",
    "SERVER_CERTIFICATE_EXPIRED",
    async () => {
      const old = await authority("Old", { ...OLD, issuer: root });
      return { leaf: await server({ issuer: old }), chain: [old] };
    },
  ],

  ["a name in other case", "connected", async () => ({ leaf: await server({ dnsNames: ["MQTT.Example.COM"] }), name: "mqtt.example.com" })],
  [
    "a name with a final dot",
    "connected",
    async () => ({ leaf: await server({ dnsNames: ["mqtt.example.com"] }), name: "mqtt.example.com." }),
  ],
  ["another name", "SERVER_NAME_MISMATCH", async () => ({ leaf: await server({ dnsNames: ["other"] }) })],
  ["a wildcard", "connected", async () => ({ leaf: await server({ dnsNames: ["*.example.com"] }), name: "mqtt.example.com" })],
  [
    "a wildcard over two levels",
    "SERVER_NAME_MISMATCH",
    async () => ({ leaf: await server({ dnsNames: ["*.example.com"] }), name: "a.b.example.com" }),
  ],
  [
    "a wildcard for no label",
    "SERVER_NAME_MISMATCH",
    async () => ({ leaf: await server({ dnsNames: ["*.example.com"] }), name: "example.com" }),
  ],
  [
    "a wildcard for a top-level domain",
    "SERVER_NAME_MISMATCH",
    async () => ({ leaf: await server({ dnsNames: ["*.com"] }), name: "example.com" }),
  ],
  [
    "a wildcard within a label",
    "SERVER_NAME_MISMATCH",
    async () => ({ leaf: await server({ dnsNames: ["mq*.example.com"] }), name: "mqtt.example.com" }),
  ],
  ["a common name and no alternative names", "connected", async () => ({ leaf: await server({ extensions: [] }) })],
  ["a common name beside alternative names", "SERVER_NAME_MISMATCH", async () => ({ leaf: await server({ dnsNames: ["other"] }) })],
  [
    "a common name beside an address",
    "SERVER_NAME_MISMATCH",
    async () => ({ leaf: await server({ dnsNames: [], addresses: ["127.0.0.1"] }) }),
  ],
  ["an address", "connected", async () => ({ leaf: await server({ addresses: ["127.0.0.1"] }), name: "127.0.0.1" })],
  [
    "an IPv6 address, written in another way",
    "connected",
    async () => ({ leaf: await server({ addresses: ["2001:db8::1"] }), name: "2001:DB8:0:0::1" }),
  ],
  [
    "another IPv6 address",
    "SERVER_NAME_MISMATCH",
    async () => ({ leaf: await server({ addresses: ["2001:db8::1"] }), name: "2001:db8::2" }),
  ],
  [
    "an address as a DNS name",
    "SERVER_NAME_MISMATCH",
    async () => ({ leaf: await server({ dnsNames: ["127.0.0.1"] }), name: "127.0.0.1" }),
  ],
  [
    "an address as the common name",
    "SERVER_NAME_MISMATCH",
    async () => ({ leaf: await server({ name: "127.0.0.1", extensions: [] }), name: "127.0.0.1" }),
  ],

  [
    "a certificate for servers and clients",
    "connected",
    async () => ({
      leaf: await server({ extensions: [localhost(), usage(x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth)] }),
    }),
  ],
  [
    "a certificate for clients",
    "SERVER_CERTIFICATE_INVALID",
    async () => ({ leaf: await server({ extensions: [localhost(), usage(x509.ExtendedKeyUsage.clientAuth)] }) }),
  ],
  [
    "a certificate for any use",
    "SERVER_CERTIFICATE_INVALID",
    async () => ({ leaf: await server({ extensions: [localhost(), usage(anyUsage)] }) }),
  ],
  ["a certificate that does not say what for", "connected", async () => ({ leaf: await server({ extensions: [localhost()] }) })],
  [
    "a key that may only encipher",
    "SERVER_CERTIFICATE_INVALID",
    async () => ({
      leaf: await server({
        key: "RSA-2048",
        extensions: [localhost(), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyEncipherment, true)],
      }),
    }),
  ],
  [
    "a CA for the certificates of clients",
    "SERVER_CERTIFICATE_INVALID",
    async () => {
      const clients = await authority("Clients", { issuer: root, moreExtensions: [usage(x509.ExtendedKeyUsage.clientAuth)] });
      return { leaf: await server({ issuer: clients }), chain: [clients] };
    },
  ],
  ...[true, false].map((critical): Row => [
    `a CA with ${critical ? "critical" : "other"} name constraints`,
    "SERVER_CERTIFICATE_INVALID",
    async () => {
      const bound = await authority("Bound", { issuer: root, moreExtensions: [extension("2.5.29.30", critical, CONSTRAINTS)] });
      return { leaf: await server({ issuer: bound }), chain: [bound] };
    },
  ]),
  [
    "an unknown critical extension",
    "SERVER_CERTIFICATE_INVALID",
    async () => ({ leaf: await server({ moreExtensions: [extension("1.2.3.4", true, "0500")] }) }),
  ],
  ["an unknown extension", "connected", async () => ({ leaf: await server({ moreExtensions: [extension("1.2.3.4", false, "0500")] }) })],

  ["a chain of 4.5 KB", "connected", async () => ({ leaf: await server({ issuer: issuing, dnsNames: names(3_600) }), chain: [issuing] })],
  ["a chain of 15.5 KB", "connected", async () => ({ leaf: await server({ issuer: issuing, dnsNames: names(14_600) }), chain: [issuing] })],
  [
    "a chain of RSA 4096 throughout",
    "connected",
    async () => {
      const top = await authority("Top", { key: "RSA-4096" });
      const middle = await authority("Middle", { key: "RSA-4096", issuer: top });
      return { leaf: await server({ key: "RSA-4096", issuer: middle, dnsNames: names(3_600) }), chain: [middle, top], anchors: [top] };
    },
  ],
  [
    "a chain of more than 20 KB",
    "SERVER_CERTIFICATE_INVALID",
    async () => ({ leaf: await server({ issuer: issuing, dnsNames: names(20_000) }), chain: [issuing] }),
  ],
];

describe("Node and the engine of the chip say the same of", () => {
  it.each(ROWS)("%s: %s", async (_title, expected, make) => {
    const broker = await make();
    for (const version of VERSIONS) expect([version, ...(await verdicts(broker, version))]).toEqual([version, expected, expected]);
  });
});
