/** Bridges: who they speak to, how, and what they hand over (HW051, HW052, HW068). */
import { insertAfter, replaceLine } from "./audit-context.js";
import type { AuditContext } from "./audit-context.js";
import type { Directive } from "./conf-reader.js";
import type { Bridge } from "./model.js";

export function checkBridges(ctx: AuditContext): void {
  for (const bridge of ctx.model.bridges) {
    checkEncryption(ctx, bridge);
    for (const topic of bridge.topics) checkTopic(ctx, bridge, topic);
  }
}

function checkEncryption(ctx: AuditContext, { name, place, settings, addresses }: Bridge): void {
  const hasSystemTrust = settings.flag("bridge_tls_use_os_certs") === true;
  const isEncrypted = settings.get("bridge_cafile", "bridge_capath", "bridge_psk") !== undefined || hasSystemTrust;
  if (!isEncrypted) {
    const hasPassword = settings.get("remote_password", "password") !== undefined;
    const looks =
      settings.get("bridge_certfile") === undefined ? "" : " (bridge_certfile alone switches TLS on no more than the port number)";
    const what = `The bridge ${name} to ${addresses.join(", ")} has no TLS: ${hasPassword ? "its password and every message go" : "every message goes"} over the network in the clear${looks}.`;
    ctx.find("HW051", what, {
      place,
      fix: ["bridge_cafile /path/to/the-far-brokers-ca.crt", `address ${(addresses[0] ?? "hub.example.com").replace(/:\d+$/, "")}:8883`],
    });
    return;
  }
  const insecure = settings.get("bridge_insecure");
  if (insecure !== undefined && settings.flag("bridge_insecure") === true) {
    ctx.find(
      "HW052",
      `The bridge ${name} takes any certificate of a trusted CA for ${addresses.join(", ")}: the name is not compared (bridge_insecure true).`,
      { place: insecure.place, edits: [replaceLine(insecure.place, "bridge_insecure false")] },
    );
  }
  const version = settings.get("bridge_tls_version");
  if (version !== undefined && /^tlsv1(\.[01])?$/.test(version.value)) {
    ctx.find("HW043", `The bridge ${name} speaks ${version.value}, an old version of TLS.`, {
      place: version.place,
      edits: [replaceLine(version.place, "bridge_tls_version tlsv1.2")],
    });
  }
  const key = settings.get("bridge_psk");
  if (key !== undefined && key.value.length < 16)
    ctx.find("HW029", `The pre-shared key of the bridge ${name} has only ${key.value.length * 4} bits.`, {
      place: { ...key.place, text: "bridge_psk ..." },
    });
}

/** `topic PATTERN DIRECTION QOS LOCAL-PREFIX REMOTE-PREFIX`: a local prefix keeps what comes in below it. */
function checkTopic(ctx: AuditContext, { name }: Bridge, topic: Directive): void {
  const [pattern = "", direction = "out", qos = "0", localPrefix] = topic.words;
  const flow = direction.toLowerCase();
  const isConfined = localPrefix !== undefined && localPrefix !== '""' && !localPrefix.startsWith("#");
  if (!/^(\+\/)*#$/.test(pattern) || flow === "out" || isConfined) return;
  const what =
    flow === "both"
      ? `The bridge ${name} hands every topic of either side to the other (${topic.place.text}): a client of the far broker writes our commands, past our ACL.`
      : `The bridge ${name} takes every topic of the far broker (${topic.place.text}): its clients write our commands, past our ACL.`;
  const narrow = flow === "both" ? replaceLine(topic.place, `topic ${pattern} out ${qos}`) : insertAfter(topic.place);
  ctx.find("HW068", what, {
    place: topic.place,
    fix: ["topic telemetry/# out 1", "topic commands/# in 1"],
    edits: flow === "both" ? [narrow] : [],
  });
}
