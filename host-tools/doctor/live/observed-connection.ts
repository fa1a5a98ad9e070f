/**
 * One connection to a broker, made to see how it answers: over plain TCP or TLS, with or without credentials. MQTT 3.1.1, which every
 * broker speaks.
 */
import { connect as tcpConnect } from "node:net";
import type { Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { generate, parser } from "mqtt-packet";
import type { IConnectPacket, Packet } from "mqtt-packet";
import type { ProbeBudget } from "./probe-budget.js";

export interface ProbeTarget {
  readonly host: string;
  readonly port: number;
}

export interface Login {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly clientId?: string | undefined;
}

/** `accepted`, a refusal with its CONNACK code, or how the connection ended instead. */
export type Answer =
  | { readonly kind: "accepted" }
  | { readonly kind: "refused"; readonly code: number }
  | { readonly kind: "ended"; readonly why: string; readonly stage: "tcp" | "tls" | "mqtt" };

const WAIT_MS = 4_000;

export class ProbeConnection {
  readonly messages: { readonly topic: string; readonly payload: string }[] = [];
  isEnded = false;
  readonly #waiting = new Set<() => void>();

  private constructor(
    readonly socket: Socket,
    readonly answer: Answer,
    readonly budget: ProbeBudget,
  ) {}

  /** Connects and sends a CONNECT; settles with whatever came of it, and never throws for what a broker does. */
  static async open(target: ProbeTarget, tls: ConnectionOptions | undefined, login: Login, budget: ProbeBudget): Promise<ProbeConnection> {
    const dialled = await dial(target, tls, budget);
    if (!("socket" in dialled)) return new ProbeConnection(dialled.dead, dialled.answer, budget);
    const { socket } = dialled;
    const reader = parser();
    const early: Packet[] = [];
    let deliver = (packet: Packet): void => void early.push(packet);
    reader.on("packet", (packet: Packet) => deliver(packet));
    reader.on("error", () => socket.destroy());
    const answer = await new Promise<Answer>((resolve) => {
      const timer = setTimeout(() => resolve({ kind: "ended", why: "no answer to CONNECT", stage: "mqtt" }), WAIT_MS);
      const settle = (value: Answer): void => {
        clearTimeout(timer);
        resolve(value);
      };
      deliver = (packet) => {
        if (packet.cmd === "connack")
          settle(packet.returnCode === 0 ? { kind: "accepted" } : { kind: "refused", code: packet.returnCode ?? -1 });
      };
      socket.on("data", (bytes: Buffer) => reader.parse(bytes));
      socket.once("error", (error: Error) => settle({ kind: "ended", why: error.message, stage: "mqtt" }));
      socket.once("close", () => settle({ kind: "ended", why: "closed without an answer", stage: "mqtt" }));
      write(socket, connectPacket(login), budget);
    });
    const connection = new ProbeConnection(socket, answer, budget);
    deliver = (packet) => connection.#take(packet);
    socket.on("error", () => undefined);
    socket.once("close", () => {
      connection.isEnded = true;
      connection.#wake();
    });
    if (answer.kind !== "accepted") socket.destroy();
    return connection;
  }

  get isAccepted(): boolean {
    return this.answer.kind === "accepted";
  }

  subscribe(...topics: readonly string[]): void {
    this.#send({ cmd: "subscribe", messageId: 1, subscriptions: topics.map((topic) => ({ topic, qos: 0 })) });
  }

  publish(topic: string, payload: string | Buffer): void {
    this.#send({ cmd: "publish", topic, payload, qos: 0, retain: false, dup: false });
  }

  /** Waits until `test` holds, the connection ends or the time is over; says whether it holds. */
  async until(test: () => boolean, ms: number): Promise<boolean> {
    const endMs = performance.now() + ms;
    while (!test() && !this.isEnded && performance.now() < endMs) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          this.#waiting.delete(done);
          resolve();
        };
        const timer = setTimeout(done, Math.max(1, endMs - performance.now()));
        this.#waiting.add(done);
      });
    }
    return test();
  }

  close(): void {
    if (!this.isEnded && this.isAccepted) this.socket.end(generate({ cmd: "disconnect" }));
    else this.socket.destroy();
  }

  #send(packet: Packet): void {
    if (!this.isEnded) write(this.socket, generate(packet), this.budget);
  }

  #take(packet: Packet): void {
    // Enough to judge by; a broker that floods fills no memory here.
    if (packet.cmd === "publish" && this.messages.length < 500)
      this.messages.push({ topic: packet.topic, payload: packet.payload.toString().slice(0, 400) });
    this.#wake();
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}

function write(socket: Socket, bytes: Buffer, budget: ProbeBudget): void {
  budget.sent(bytes.length);
  socket.write(bytes);
}

export function connectPacket({ username, password, clientId }: Login): Buffer {
  const packet: IConnectPacket = {
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 4,
    clean: true,
    keepalive: 30,
    clientId: clientId ?? `hawser-doctor-${Math.random().toString(36).slice(2, 10)}`,
  };
  if (username !== undefined) packet.username = username;
  if (username !== undefined && password !== undefined) packet.password = Buffer.from(password);
  return generate(packet);
}

export type Dialled = { readonly socket: Socket } | { readonly dead: Socket; readonly answer: Answer };

/** A TCP or TLS connection. TLS is never refused for the broker's certificate: the caller judges it. */
export function dial({ host, port }: ProbeTarget, tls: ConnectionOptions | undefined, budget: ProbeBudget): Promise<Dialled> {
  budget.connection();
  return new Promise((resolve) => {
    let socket: Socket;
    const stage = tls === undefined ? "tcp" : "tls";
    const fail = (why: string): void => {
      socket.destroy();
      resolve({ dead: socket, answer: { kind: "ended", why, stage } });
    };
    try {
      const servername = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
      socket =
        tls === undefined ? tcpConnect({ host, port }) : tlsConnect({ host, port, ...servername, ...tls, rejectUnauthorized: false });
    } catch (error) {
      // OpenSSL of this machine cannot offer what was to be tried.
      socket = tcpConnect({ host: "127.0.0.1", port: 9 });
      socket.on("error", () => undefined);
      return fail(error instanceof Error ? error.message : String(error));
    }
    const timer = setTimeout(() => fail("no answer in time"), WAIT_MS);
    const onError = (error: Error): void => {
      clearTimeout(timer);
      fail(error.message);
    };
    socket.once("error", onError);
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      clearTimeout(timer);
      socket.removeListener("error", onError);
      resolve({ socket });
    });
    socket.once("close", () => {
      clearTimeout(timer);
      resolve({ dead: socket, answer: { kind: "ended", why: "closed", stage } });
    });
  });
}

export function isTls(socket: Socket): socket is TLSSocket {
  return "getPeerCertificate" in socket;
}
