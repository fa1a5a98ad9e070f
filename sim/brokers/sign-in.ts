/** From a finished TLS handshake to an admitted CONNECT, or to the refusal that the client can understand. */
import { randomUUID } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { BrokerLimits, PortKind, RefusalReason } from "./broker-events.js";
import { RETURN_CODE, readConnect, refusingConnack, type ConnectHead } from "./incoming-connect.js";
import { credentialFault, scopeOf, type Shown } from "./credential-verdict.js";
import { closeSoon } from "./guarded-connection.js";
import type { PreparedMaterial } from "./tls-ports.js";

/** A client whose CONNECT was read; whether it may sign in is the next question. */
export interface Visitor {
  socket: TLSSocket;
  port: PortKind;
  shown: Shown;
  head: ConnectHead;
  connectBytes: Uint8Array;
  /** What came behind the CONNECT in the same breath. */
  following: Uint8Array;
}

export interface Refusal {
  reason: RefusalReason;
  returnCode: number;
}

/** Collects the CONNECT within bounds of size and time; afterwards the socket is paused and nobody listens to it. */
export function awaitConnect(
  socket: TLSSocket,
  limits: BrokerLimits,
  onConnect: (head: ConnectHead, connectBytes: Uint8Array, following: Uint8Array) => void,
  onRefused: (reason: RefusalReason) => void,
): void {
  let received = Buffer.alloc(0);
  const finish = (): void => {
    clearTimeout(deadline);
    socket.removeListener("data", onData).removeListener("close", onClose);
    socket.pause();
  };
  const refuse = (reason: RefusalReason): void => {
    finish();
    socket.destroy();
    onRefused(reason);
  };
  const onClose = (): void => refuse("CONNECTION_CLOSED");
  const onData = (chunk: Buffer): void => {
    received = Buffer.concat([received, chunk]);
    const reading = readConnect(received, limits.maxPacketBytes);
    if (reading.kind === "malformed") refuse("MALFORMED_CONNECT");
    else if (reading.kind === "too-large") refuse("PACKET_TOO_LARGE");
    else if (reading.kind === "connect") {
      finish();
      onConnect(reading.head, received.subarray(0, reading.sizeBytes), received.subarray(reading.sizeBytes));
    }
  };
  const deadline = setTimeout(() => refuse("CONNECT_TIMEOUT"), limits.connectTimeoutMs);
  socket.on("error", () => undefined);
  socket.on("data", onData).once("close", onClose);
}

/** A client that leaves its identifier to the broker gets one of its own (MQTT 3.1.1 section 3.1.3.1). */
export function withClientId(head: ConnectHead, name: string): ConnectHead {
  const isLeftToUs = head.protocolLevel === 4 && head.clientId === "" && head.cleanSession;
  return isLeftToUs ? { ...head, clientId: `${name}~${randomUUID()}` } : head;
}

/** Why the visitor may not sign in, with the CONNACK return code that says so; undefined when it may. */
export function refusalOf(visitor: Visitor, prepared: PreparedMaterial, nowMs: number): Refusal | undefined {
  const { shown, head } = visitor;
  const fault = credentialFault(shown, prepared.material, prepared.revocation, nowMs);
  if (fault !== undefined) return { reason: fault, returnCode: RETURN_CODE.notAuthorized };
  if (head.protocolLevel !== 4) return { reason: "UNSUPPORTED_PROTOCOL_VERSION", returnCode: RETURN_CODE.unacceptableProtocol };
  const allowed =
    prepared.material.clientIdAllowed?.(shown.name, head.clientId, scopeOf(shown)) ?? isOwnClientId(shown.name, head.clientId);
  return allowed ? undefined : { reason: "CLIENT_ID_REJECTED", returnCode: RETURN_CODE.identifierRejected };
}

/** The default rule: the name itself, or an extension that no other name can be equal to. */
function isOwnClientId(name: string, clientId: string): boolean {
  return clientId === name || clientId.startsWith(`${name}~`);
}

export function sendRefusal(visitor: Visitor, refusal: Refusal): void {
  closeSoon(visitor.socket, refusingConnack(refusal.returnCode, visitor.head.protocolLevel));
}
