/**
 * Compiles a policy for HiveMQ CE with its File RBAC extension: `config.xml`, and the extension's `credentials.xml`. The certificate only
 * opens the door; the name is proved by a random password for each device, kept beside its key.
 */
import { createHash } from "node:crypto";
import type { ConcreteRule } from "../../policy/concrete-rules.js";
import type { Principal } from "../../policy/policy-model.js";
import { PolicyError } from "../../policy/policy-text.js";
import type { Finding } from "../../policy/policy-text.js";
import { requireExpressible } from "../../policy/policy-target.js";
import type { Capabilities, Compiled, CompileInput } from "../../policy/policy-target.js";

export const HIVEMQ: Capabilities = {
  kind: "hivemq",
  title: "HiveMQ CE",
  deny: false,
  networks: false,
  times: false,
  perListener: false,
  enforces: ["qos", "retain", "shared"],
  limits: ["connections", "packetBytes", "queuedMessages", "sessionExpirySeconds", "inflight", "keepAliveSeconds"],
  factors: [["certificate", "password"], ["password"]],
  websocket: false,
  bridges: false,
  because: {
    certificate: "it cannot make a name of a certificate without a Java extension: let the listener ask for a certificate and a password",
    psk: "it takes no pre-shared keys",
  },
};

/** @throws PolicyError for what HiveMQ CE cannot say, naming the lines */
export function compileHivemq(input: CompileInput): Compiled {
  const { policy } = input;
  const risks = requireExpressible(policy, HIVEMQ);
  const [listener] = policy.listeners.values();
  const names = listener === undefined ? [] : input.namesOn(listener);
  const users = names
    .filter(({ passwordHash }) => passwordHash !== undefined)
    .map((principal) => ({ principal, rules: listener === undefined ? [] : input.rulesOn(principal, listener) }));
  requireSha512(names);
  const files = new Map([
    ["config.xml", configText(input)],
    ["credentials.xml", credentialsText(users)],
  ]);
  risks.push(
    "HiveMQ CE reads no revocation lists: a stolen certificate and password count until the name is taken out of credentials.xml",
    "credentials.xml is read once a minute, and sessions that are live keep their old rights: restart the broker after a revocation",
    "Delete the allow-all extension that is shipped with it",
    "The certificate is not tied to the name: any device's certificate opens the door for any name whose password is known",
    ...(users.length < names.length ? [`${names.length - users.length} names have no password yet and cannot sign in`] : []),
  );
  return { files, risks };
}

/** The extension takes PKCS5S2 with SHA-512, as the passwords here are hashed. */
function requireSha512(names: readonly Principal[]): void {
  const findings: Finding[] = names
    .filter(({ passwordHash }) => passwordHash !== undefined && !passwordHash.startsWith("$7$"))
    .map(({ name }) => ({
      level: "error",
      code: "INEXPRESSIBLE",
      message: `the password of ${name} is hashed in a way HiveMQ cannot check`,
    }));
  if (findings.length > 0) throw new PolicyError("the policy for HiveMQ CE", findings);
}

function credentialsText(users: readonly { principal: Principal; rules: readonly ConcreteRule[] }[]): string {
  const lines = users.map(({ principal: { name, passwordHash = "" }, rules }) => {
    const [, , iterations = "", salt = "", hash = ""] = passwordHash.split("$");
    const role = roleId(name);
    return {
      user: `    <user>\n      <name>${xml(name)}</name>\n      <password>${xml(`${salt}:${iterations}:${hash}`)}</password>\n      <roles>\n        <id>${role}</id>\n      </roles>\n    </user>`,
      role: `    <role>\n      <id>${role}</id>\n      <permissions>\n${rules.map(permission).join("\n")}\n      </permissions>\n    </role>`,
    };
  });
  return `<?xml version="1.0" encoding="UTF-8" ?>\n<!-- Written by hawser; changes made here are lost. -->\n<file-rbac>\n  <users>\n${lines.map(({ user }) => user).join("\n")}\n  </users>\n  <roles>\n${lines.map(({ role }) => role).join("\n")}\n  </roles>\n</file-rbac>\n`;
}

function roleId(name: string): string {
  return `r-${createHash("sha256").update(name).digest("hex").slice(0, 16)}`;
}

function permission({ access, filter, rule }: ConcreteRule): string {
  const publishes = access === "publish";
  const qos = ["ZERO", "ZERO_ONE", "ALL"][rule.channel?.qos ?? 2] ?? "ALL";
  const details = publishes
    ? [`<qos>${qos}</qos>`, `<retain>${rule.channel?.retain === false ? "NOT_RETAINED" : "ALL"}</retain>`]
    : ["<qos>ALL</qos>"];
  return [
    "        <permission>",
    `          <topic>${xml(filter)}</topic>`,
    `          <activity>${publishes ? "PUBLISH" : "SUBSCRIBE"}</activity>`,
    ...details.map((line) => `          ${line}`),
    "        </permission>",
  ].join("\n");
}

function configText({ policy, tls }: CompileInput): string {
  const { connections, packetBytes, queuedMessages, sessionExpirySeconds, inflight, keepAliveSeconds } = policy.limits;
  const listeners = [...policy.listeners.values()].map(({ name, port, bind = "0.0.0.0", requires }) =>
    [
      "    <tls-tcp-listener>",
      `      <port>${port}</port>`,
      `      <bind-address>${xml(bind)}</bind-address>`,
      `      <name>${name}</name>`,
      "      <tls>",
      "        <protocols>\n          <protocol>TLSv1.3</protocol>\n          <protocol>TLSv1.2</protocol>\n        </protocols>",
      `        <keystore>\n          <path>${xml(`${tls.key}.jks`)}</path>\n          <password>\${ENV:HAWSER_KEYSTORE_PASSWORD}</password>\n          <private-key-password>\${ENV:HAWSER_KEYSTORE_PASSWORD}</private-key-password>\n        </keystore>`,
      `        <client-authentication-mode>${requires.includes("certificate") ? "REQUIRED" : "NONE"}</client-authentication-mode>`,
      `        <truststore>\n          <path>${xml(`${tls.anchors}.jks`)}</path>\n          <password>\${ENV:HAWSER_KEYSTORE_PASSWORD}</password>\n        </truststore>`,
      "      </tls>",
      "    </tls-tcp-listener>",
    ].join("\n"),
  );
  const mqtt = [
    ...(queuedMessages === undefined
      ? []
      : [
          `    <queued-messages>\n      <max-queue-size>${queuedMessages}</max-queue-size>\n      <strategy>discard</strategy>\n    </queued-messages>`,
        ]),
    ...(sessionExpirySeconds === undefined
      ? []
      : [`    <session-expiry>\n      <max-interval>${sessionExpirySeconds}</max-interval>\n    </session-expiry>`]),
    ...(keepAliveSeconds === undefined
      ? []
      : [
          `    <keep-alive>\n      <allow-unlimited>false</allow-unlimited>\n      <max-keep-alive>${keepAliveSeconds}</max-keep-alive>\n    </keep-alive>`,
        ]),
    ...(packetBytes === undefined ? [] : [`    <packets>\n      <max-packet-size>${packetBytes}</max-packet-size>\n    </packets>`]),
    ...(inflight === undefined
      ? []
      : [`    <receive-maximum>\n      <server-receive-maximum>${inflight}</server-receive-maximum>\n    </receive-maximum>`]),
  ];
  const restrictions =
    connections === undefined
      ? ""
      : `  <restrictions>\n    <max-connections>${connections}</max-connections>\n    <max-client-id-length>128</max-client-id-length>\n    <no-connect-idle-timeout>10000</no-connect-idle-timeout>\n  </restrictions>\n`;
  return `<?xml version="1.0"?>\n<!-- Written by hawser from the policy ${policy.name}; changes made here are lost. -->\n<hivemq>\n  <listeners>\n${listeners.join("\n")}\n  </listeners>\n  <mqtt>\n${mqtt.join("\n")}\n  </mqtt>\n${restrictions}  <anonymous-usage-statistics>\n    <enabled>false</enabled>\n  </anonymous-usage-statistics>\n</hivemq>\n`;
}

function xml(text: string): string {
  return text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
