/** Servers that have no right to a verdict: strangers with an alert at hand, and impostors on the path to a real TLS server. */
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";

const ALERT_RECORD = 21;
const HANDSHAKE_RECORD = 22;
const RECORD_HEADER_BYTES = 5;

/** Handshake messages (RFC 8446 section 4, RFC 5246 section 7.4). */
export const SERVER_HELLO = 2;
export const SERVER_KEY_EXCHANGE = 12;

export interface Stranger {
  port: number;
  stop(): Promise<void>;
}

async function listen(onConnection: (socket: Socket) => void): Promise<Stranger> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** A fatal alert in the clear. */
export function alertRecord(alert: number): Buffer {
  return Buffer.of(ALERT_RECORD, 3, 3, 0, 2, 2, alert);
}

/** Answers the first bytes of each client with the alerts in turn, one for each connection. */
export function startStranger(alerts: readonly number[]): Promise<Stranger> {
  let next = 0;
  return listen((socket) => {
    const alert = alerts[next++ % alerts.length] as number;
    socket.once("data", () => socket.end(alertRecord(alert)));
  });
}

export interface Impostor {
  /** What becomes of the client's hello. */
  hello?: (bytes: Buffer) => Buffer;
  /**
   * What becomes of a record of the server; `message` is the first handshake message in it, when it is readable. Undefined: that was the
   * last.
   */
  record?: (record: Buffer, message: number | undefined) => { send: Buffer; end?: boolean };
}

/** Passes a real server's words on, until it has some of its own. */
export function startImpostor(serverPort: number, { hello, record }: Impostor): Promise<Stranger> {
  return listen((client) => {
    const server = createConnection(serverPort, "127.0.0.1");
    server.on("error", () => undefined);
    client.once("data", (bytes: Buffer) => {
      server.write(hello?.(bytes) ?? bytes);
      client.on("data", (more) => server.write(more));
    });
    client.on("close", () => server.destroy());
    let waiting = Buffer.alloc(0);
    server.on("data", (bytes: Buffer) => {
      waiting = Buffer.concat([waiting, bytes]);
      for (let size = recordSize(waiting); size !== undefined; size = recordSize(waiting)) {
        const whole = waiting.subarray(0, size);
        waiting = waiting.subarray(size);
        const message = whole[0] === HANDSHAKE_RECORD ? whole[RECORD_HEADER_BYTES] : undefined;
        const { send, end } = record?.(whole, message) ?? { send: whole };
        client.write(send);
        if (end === true) {
          client.end();
          server.destroy();
          return;
        }
      }
    });
    server.on("close", () => client.end());
  });
}

function recordSize(bytes: Buffer): number | undefined {
  if (bytes.length < RECORD_HEADER_BYTES) return undefined;
  const size = RECORD_HEADER_BYTES + bytes.readUInt16BE(3);
  return bytes.length < size ? undefined : size;
}

/**
 * Takes TLS 1.3 out of what a hello offers (supported_versions, RFC 8446 section 4.2.1: 1.3 and 1.2, in this order, as Mbed TLS writes it).
 */
export function withoutTls13(hello: Buffer): Buffer {
  const at = hello.indexOf(Buffer.from("002b0005040304" + "0303", "hex"));
  if (at < 0) throw new Error("the hello does not offer TLS 1.3 and 1.2");
  const changed = Buffer.from(hello);
  changed[at + 6] = 3;
  return changed;
}
