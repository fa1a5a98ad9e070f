import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { truthEngine, truthPolicyText, TRUTH_NAMES } from "../../test/support/brokers/truth-table.js";
import { hashPassword } from "../policy/password.js";
import type { Principal } from "../policy/policy-model.js";
import { CompileInput } from "../policy/policy-target.js";
import type { Compiled } from "../policy/policy-target.js";
import { compilePolicy } from "./policy-compilers.js";

const TLS = { anchors: "/etc/b/ca.pem", chain: "/etc/b/srv.pem", key: "/etc/b/srv.key", crl: "/etc/b/crl.pem", psk: "/etc/b/psk.txt" };

/** `config/+` of a press: EMQX and VerneMQ cannot grant a last `+`. */
const WITHOUT_PLUS = truthPolicyText(8883).replace("config/+", "config/a");

function compile(target: string, text: string, names: readonly Principal[] = TRUTH_NAMES): Compiled {
  return compilePolicy(target, new CompileInput(truthEngine(text, names), "/etc/b", TLS));
}

function refusal(target: string, text: string, names?: readonly Principal[]): string {
  try {
    compile(target, text, names);
    return "";
  } catch (error) {
    return (error as { findings?: { message: string }[] }).findings?.map(({ message }) => message).join("\n") ?? String(error);
  }
}

function temporary(name: string, text: string): string {
  const room = mkdtempSync(join(tmpdir(), "hawser-compile-"));
  onTestFinished(() => rmSync(room, { recursive: true, force: true }));
  const file = join(room, name);
  writeFileSync(file, text);
  return file;
}

describe("the compiler for EMQX", () => {
  it("writes rules that Erlang reads, each with the name it is for, denying at the end", () => {
    const { files } = compile("emqx", WITHOUT_PLUS);
    const acl = files.get("acl.conf") ?? "";
    expect(acl).toContain('{allow, {username, <<"dev1"/utf8>>}, publish, ["devices/dev1/up/#"]}.');
    expect(acl).toContain('{allow, {username, <<"view1"/utf8>>}, subscribe, ["sites/b1/+/+/state"]}.');
    expect(acl.trimEnd()).toMatch(/\{deny, all\}\.$/);
    const file = temporary("acl.conf", acl);
    const terms = execFileSync(
      "erl",
      ["-noshell", "-eval", `{ok, T} = file:consult(${JSON.stringify(file)}), io:format("~p", [length(T)]), halt().`],
      { encoding: "utf8" },
    );
    expect(Number(terms)).toBe(acl.split("\n").filter((line) => line.startsWith("{")).length);
  });

  it("writes one rule for all devices that only differ by their id, and shuts out the others by name", () => {
    const simple = [
      ...TRUTH_NAMES.filter(({ role }) => role === "sensor" || role === "backend"),
      { name: "gone", kind: "device" as const, role: "sensor", attributes: {}, active: false, recoverable: false },
    ];
    const acl = compile("emqx", truthPolicyText(8883), simple).files.get("acl.conf") ?? "";
    expect(acl).toContain('{allow, all, publish, ["devices/${username}/up/#"]}.');
    expect(acl).toContain('{deny, {\'or\', [{username, <<"backend"/utf8>>}, {username, <<"gone"/utf8>>}]}, all, ["#", "$SYS/#"]}.');
    expect(acl).not.toContain('<<"dev1"/utf8>>');
  });

  it("closes the listeners that EMQX opens by itself, and asks for certificates on its own", () => {
    expect(compile("emqx", `${WITHOUT_PLUS}limits: { packetBytes: 131072, messagesPerSecond: 20 }\n`).files.get("emqx.conf"))
      .toBe(`# Written by hawser from the policy truth; changes made here are lost.
# EMQX opens these by default.
listeners.tcp.default { enable = false }
listeners.ssl.default { enable = false }
listeners.ws.default { enable = false }
listeners.wss.default { enable = false }
listeners.ssl.mtls {
  bind = "127.0.0.1:8883"
  messages_rate = "20/s"
  ssl_options {
    cacertfile = "/etc/b/ca.pem"
    certfile = "/etc/b/srv.pem"
    keyfile = "/etc/b/srv.key"
    verify = verify_peer
    fail_if_no_peer_cert = true
    depth = 2
    enable_crl_check = true
    versions = [tlsv1.3, tlsv1.2]
  }
}
mqtt {
  peer_cert_as_username = cn
  peer_cert_as_clientid = disabled
  max_packet_size = 131072B
}
authorization { no_match = deny, deny_action = ignore, cache { enable = true, ttl = 1m }, sources = [{ type = file, enable = true, path = "/etc/b/acl.conf" }] }
flapping_detect { enable = true, window_time = 1m, max_count = 15, ban_time = 5m }
force_shutdown { enable = true, max_mailbox_size = 1000, max_heap_size = 32MB }
crl_cache { refresh_interval = 15m, http_timeout = 15s, capacity = 100 }
`);
  });

  it("enforces QoS and retain, and networks", () => {
    const text = WITHOUT_PLUS.replace("up: { topic: up/#,", "up: { topic: up/#, qos: 1, retain: false,").replace(
      "  root:",
      "  guard:\n    grants: [{ allow: write, topics: [t], when: { networks: [10.0.0.0/8] } }]\n  root:",
    );
    const acl =
      compile("emqx", text, [
        ...TRUTH_NAMES,
        { name: "g", kind: "client", role: "guard", attributes: {}, active: true, recoverable: false },
      ]).files.get("acl.conf") ?? "";
    expect(acl).toContain('{allow, {username, <<"dev1"/utf8>>}, {publish, [{qos, [0, 1]}, {retain, false}]}, ["devices/dev1/up/#"]}.');
    expect(acl).toContain('{allow, {\'and\', [{username, <<"g"/utf8>>}, {ipaddrs, ["10.0.0.0/8"]}]}, publish, ["t"]}.');
  });

  it("refuses what would be wider there than the policy says", () => {
    expect(refusal("emqx", truthPolicyText(8883))).toMatch(/cannot allow reading sites\/.*config\/\+ alone/);
    expect(refusal("emqx", WITHOUT_PLUS.replace("classes:", "  psk: { port: 1, requires: [psk], scope: recovery }\nclasses:"))).toMatch(
      /any key holder could claim any name/,
    );
  });
});

describe("the compiler for VerneMQ", () => {
  it("writes an ACL in VerneMQ's own words, without denials", () => {
    const acl = compile("vernemq", WITHOUT_PLUS).files.get("vmq.acl") ?? "";
    expect(acl).toContain("\nuser dev1\ntopic write devices/dev1/up/#\ntopic read devices/dev1/down/#\n");
    expect(acl).not.toMatch(/deny|readwrite/);
    for (const line of acl.split("\n")) expect(line).toMatch(/^(#.*|user \S+|topic (read|write) .+|)$/);
    expect(compile("vernemq", WITHOUT_PLUS).files.get("vernemq.conf")).toContain("listener.ssl.mtls.use_identity_as_username = on\n");
  });

  it("refuses denials, pre-shared keys, and a last +", () => {
    expect(refusal("vernemq", WITHOUT_PLUS.replace("  root:", "  x: { grants: [{ deny: read, topics: [t] }] }\n  root:"))).toMatch(
      /cannot say a denial/,
    );
    expect(refusal("vernemq", truthPolicyText(8883))).toMatch(/cannot allow reading .*\+ alone/);
  });
});

describe("the compiler for HiveMQ CE", () => {
  const withPasswords = TRUTH_NAMES.map((principal) =>
    principal.kind === "device" ? { ...principal, passwordHash: hashPassword("x") } : principal,
  );
  const text = truthPolicyText(8883).replace("requires: [certificate]", "requires: [certificate, password]");

  it("writes credentials with each name's own rights, and asks for a certificate too", () => {
    const { files, risks } = compile("hivemq", text, withPasswords);
    for (const [name, content] of files) expect(spawnSync("xmllint", ["--noout", temporary(name, content)]).status).toBe(0);
    expect(files.get("credentials.xml")).toMatch(/<name>dev1<\/name>\n\s*<password>[\w+/=]+:101:[\w+/=]+<\/password>/);
    expect(files.get("credentials.xml")).not.toContain("${{");
    expect(files.get("config.xml")).toContain("<client-authentication-mode>REQUIRED</client-authentication-mode>");
    expect(risks).toContain("4 names have no password yet and cannot sign in");
  });

  it("refuses a listener that would know names by certificates alone", () => {
    expect(refusal("hivemq", truthPolicyText(8883))).toMatch(/cannot make a name of a certificate/);
  });
});

describe("the compiler for NanoMQ", () => {
  it("has every default listener on loopback and asks the decision point, inside of auth", () => {
    const config = compile("nanomq", truthPolicyText(8883)).files.get("nanomq.conf") ?? "";
    for (const kind of ["tcp", "ws", "wss"]) expect(config).toMatch(new RegExp(`^listeners\\.${kind} \\{ bind = "127\\.0\\.0\\.1:`, "m"));
    expect(config).toMatch(
      /auth \{[\s\S]*http_auth = \{[\s\S]*auth_req \{ url = "http:\/\/127\.0\.0\.1:8089\/nanomq\/auth"[\s\S]*cn = "%C"/,
    );
    expect(compile("nanomq", truthPolicyText(8883)).risks.join("\n")).toMatch(/no revocation lists/);
  });
});

const LIMITS =
  "limits: { connections: 1000, connectionsPerSource: 5, connectionsPerSecondPerSource: 2, connectionsPerSecond: 200, bytesPerSecondPerSource: 65536 }\n";

describe("the firewall rules", () => {
  const rules = (limits = LIMITS): string => compile("firewall", truthPolicyText(8883) + limits).files.get("hawser.nft") ?? "";

  it.each([
    ["all limits", LIMITS],
    ["none", ""],
    ["a slow rate", "limits: { connectionsPerSecondPerSource: 0.1 }\n"],
  ])("are good nftables with %s", (_what, limits) => {
    // In a namespace of its own: nft looks at the kernel even for a check.
    const { status, stderr } = spawnSync("unshare", ["-rn", "nft", "-c", "-f", temporary("hawser.nft", rules(limits))], {
      encoding: "utf8",
    });
    expect([status, stderr]).toEqual([0, ""]);
  });

  it("bite: of many connections at once only as many as the policy lets in get through", () => {
    const file = temporary("hawser.nft", rules());
    const program = `import { connect, createServer } from "node:net";
const server = createServer().listen(8883, "127.0.0.1", async () => {
  const attempts = Array.from({ length: 20 }, () => new Promise((resolve) => {
    const socket = connect(8883, "127.0.0.1", () => resolve(1)).on("error", () => resolve(0));
    setTimeout(() => resolve(0), 2000);
  }));
  const results = await Promise.all(attempts);
  console.log(results.reduce((sum, one) => sum + one, 0));
  process.exit();
});
`;
    const script = temporary("connect.mjs", program);
    const run = (withRules: boolean): number =>
      Number(
        execFileSync(
          "unshare",
          ["-rn", "sh", "-c", `ip link set lo up; ${withRules ? `nft -f ${file};` : ""} ${process.execPath} ${script}`],
          { encoding: "utf8" },
        ),
      );
    expect(run(false)).toBe(20);
    expect(run(true)).toBe(5);
  });

  it("bound the bytes of a source by the policy's number, by /32 and /64", () => {
    const limit = "limit rate over 65536 bytes/second burst 131072 bytes } counter drop";
    expect(rules()).toContain(`tcp dport { 8883 } ct state established update @bytes4 { ip saddr ${limit}`);
    expect(rules()).toContain(`update @bytes6 { ip6 saddr and ffff:ffff:ffff:ffff:: ${limit}`);
    expect(rules("")).not.toContain("bytes");
  });

  it("are where the bytes of a source are bounded: other targets say that they cannot", () => {
    const text = `${WITHOUT_PLUS}limits: { bytesPerSecondPerSource: 65536 }\n`;
    for (const target of ["emqx", "rabbitmq", "vernemq", "ejabberd", "hivemq", "nanomq"])
      expect(refusal(target, text)).toContain("cannot say the limit bytesPerSecondPerSource");
  });

  it("open the brokers' ports in ufw and nothing else", () => {
    expect(compile("firewall", truthPolicyText(8883)).files.get("ufw.sh")).toMatch(
      /^#!\/bin\/sh\n.*\nset -e\nufw allow 8883\/tcp comment hawser\n$/,
    );
  });
});
