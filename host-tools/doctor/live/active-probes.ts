/** Probes that other clients may notice, or that cost the broker something: only with --active. */
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { connectPacket, dial, ProbeConnection } from "./observed-connection.js";
import type { LiveAudit } from "./live-audit.js";

const BIG_BYTES = 1024 * 1024;
const SLOW_MS = 20_000;

export async function probeActively(audit: LiveAudit): Promise<void> {
  await takeover(audit);
  await bigPacket(audit);
  await slowConnect(audit);
}

function tlsFor(audit: LiveAudit, which: "credentials" | "other"): Record<string, unknown> | undefined {
  if (!audit.options.isTls) return undefined;
  const { cert, key } = audit.options[which] ?? {};
  return cert === undefined || key === undefined ? {} : { cert, key };
}

/** With two credentials: does the client id of one let the other end its connection? */
async function takeover(audit: LiveAudit): Promise<void> {
  const { target, credentials, other } = audit.options;
  if (credentials === undefined || other === undefined)
    return audit.note("Takeover by client id was not tried: it needs --credentials and --other-credentials.");
  const clientId = `hawser-doctor-${Math.random().toString(36).slice(2, 10)}`;
  const first = await ProbeConnection.open(target, tlsFor(audit, "credentials"), { ...credentials, clientId }, audit.budget);
  if (!first.isAccepted) return;
  const second = await ProbeConnection.open(target, tlsFor(audit, "other"), { ...other, clientId }, audit.budget);
  const isOver = second.isAccepted && (await first.until(() => first.isEnded, 2_000));
  if (isOver) audit.find("HW090", "A second client with the same client id and other credentials ended the first one's connection.");
  first.close();
  second.close();
}

async function bigPacket(audit: LiveAudit): Promise<void> {
  const { target, credentials } = audit.options;
  const connection = await ProbeConnection.open(target, tlsFor(audit, "credentials"), credentials ?? {}, audit.budget);
  if (!connection.isAccepted) return connection.close();
  const token = Math.random().toString(36).slice(2);
  connection.publish(`hawser-doctor/${token}`, Buffer.alloc(BIG_BYTES, "x"));
  // A broker that bounds packets ends the connection; one that does not keeps it.
  const isEnded = await connection.until(() => connection.isEnded, 2_000);
  if (!isEnded) audit.find("HW091", "A PUBLISH of 1 MiB is accepted.");
  connection.close();
}

async function slowConnect(audit: LiveAudit): Promise<void> {
  const dialled = await dial(audit.options.target, tlsFor(audit, "credentials"), audit.budget);
  if (!("socket" in dialled)) return;
  const { socket } = dialled;
  socket.on("error", () => undefined);
  const half = connectPacket({}).subarray(0, 8);
  audit.budget.sent(half.length);
  socket.write(half);
  socket.resume();
  const isEnded = await Promise.race([once(socket, "close").then(() => true), delay(SLOW_MS, false)]);
  if (!isEnded) audit.find("HW092", `A connection that sent half a CONNECT is still open after ${SLOW_MS / 1000} s.`);
  socket.destroy();
}
