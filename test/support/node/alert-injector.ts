/**
 * Has a TLS 1.3 server of Node end its connections with any alert, protected as its own would be: no TLS library says one on demand. Stands
 * before the server, holds what it says after the handshake, and puts the alert in the place of its last record, the close_notify.
 */
import { createCipheriv, createHmac } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Server as TlsServer } from "node:tls";

const HEADER_BYTES = 5;
const APPLICATION_DATA = 23;
const TAG_BYTES = 16;
const FATAL = 2;
const ALERT = 21;

export class AlertInjector {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Of the latest connection: there is one at a time. */
  #serverSecret = Buffer.alloc(0);

  private constructor(behind: TlsServer, alert: number, isWanted: () => boolean) {
    const { port } = behind.address() as AddressInfo;
    behind.on("keylog", (line: Buffer) => {
      const [label, , secret = ""] = line.toString().trim().split(" ");
      if (label === "SERVER_TRAFFIC_SECRET_0") this.#serverSecret = Buffer.from(secret, "hex");
    });
    this.#server = createServer((device) => {
      const upstream = connect(port, "127.0.0.1");
      for (const socket of [device, upstream]) this.#sockets.add(socket.on("error", () => undefined));
      device.on("close", () => upstream.destroy());
      if (isWanted()) this.#between(device, upstream, alert);
      else device.pipe(upstream).pipe(device);
    });
  }

  static async start(behind: TlsServer, alert: number, isWanted: () => boolean): Promise<AlertInjector> {
    const injector = new AlertInjector(behind, alert, isWanted);
    injector.#server.listen(0, "127.0.0.1");
    await once(injector.#server, "listening");
    return injector;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #between(device: Socket, upstream: Socket, alert: number): void {
    // The device's first protected record belongs to its Finished: all that the server says from then on is under its traffic secret.
    let isThrough = false;
    const held: Buffer[] = [];
    const ofDevice = recordSplitter((record) => {
      isThrough ||= record[0] === APPLICATION_DATA;
      upstream.write(record);
    });
    const ofServer = recordSplitter((record) => {
      if (isThrough) held.push(record);
      else device.write(record);
    });
    device.on("data", ofDevice);
    upstream.on("data", ofServer).on("end", () => {
      if (!isThrough) return void device.end();
      held.pop();
      device.end(Buffer.concat([...held, alertRecord(this.#serverSecret, held.length, alert)]));
    });
  }
}

function recordSplitter(take: (record: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= HEADER_BYTES) {
      const sizeBytes = HEADER_BYTES + rest.readUInt16BE(3);
      if (rest.length < sizeBytes) return;
      take(rest.subarray(0, sizeBytes));
      rest = rest.subarray(sizeBytes);
    }
  };
}

/** RFC 8446 section 5.2, with TLS_AES_128_GCM_SHA256. */
function alertRecord(secret: Buffer, sequence: number, alert: number): Buffer {
  const plaintext = Buffer.of(FATAL, alert, ALERT);
  const header = Buffer.of(APPLICATION_DATA, 3, 3, 0, plaintext.length + TAG_BYTES);
  const nonce = expandLabel(secret, "iv", 12);
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sequence) >>> 0, 8);
  const cipher = createCipheriv("aes-128-gcm", expandLabel(secret, "key", 16), nonce).setAAD(header);
  return Buffer.concat([header, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** HKDF-Expand-Label of RFC 8446 section 7.1, for what fits into one block. */
function expandLabel(secret: Buffer, label: string, sizeBytes: number): Buffer {
  const full = `tls13 ${label}`;
  const info = Buffer.concat([Buffer.of(0, sizeBytes, full.length), Buffer.from(full), Buffer.of(0, 1)]);
  return createHmac("sha256", secret).update(info).digest().subarray(0, sizeBytes);
}
