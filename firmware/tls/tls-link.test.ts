/** The pump between stream, engine and owner, with both ends faked. The real engine and real brokers are in `sim/xs/tls.test.ts`. */
import { beforeEach, describe, expect, it } from "vitest";
import { failure, type Failure } from "../../sdk/failure.js";
import type { Credential, Endpoint, LinkInfo } from "../../sdk/platform.js";
import type { ByteStreamHandlers } from "./byte-stream.js";
import { TlsDialer } from "./tls-dialer.js";
import { TLS_CLOSED, TLS_FAILED, TLS_HANDSHAKING, TLS_OPEN, type TlsEngine } from "./tls-engine.js";

const ENDPOINT: Endpoint = { host: "broker", port: 8883 };
const MTLS: Credential = { kind: "mtls", slot: "key-a", chain: [Uint8Array.of(1)], trustAnchors: [Uint8Array.of(2)] };

/** Runs what was scheduled when a test says so. */
class ManualScheduler {
  readonly pending: { delayMs: number; run: () => void }[] = [];
  after(delayMs: number, run: () => void): () => void {
    const entry = { delayMs, run };
    this.pending.push(entry);
    return () => this.#remove(entry);
  }
  fire(): void {
    const [first] = this.pending;
    if (first === undefined) throw new Error("nothing is scheduled");
    this.#remove(first);
    first.run();
  }
  #remove(entry: { delayMs: number; run: () => void }): void {
    const index = this.pending.indexOf(entry);
    if (index >= 0) this.pending.splice(index, 1);
  }
}

class FakeStream {
  handlers: ByteStreamHandlers | undefined;
  readonly sent: number[][] = [];
  room = Infinity;
  closed = 0;
  write(bytes: Uint8Array): number {
    const taken = Math.min(this.room, bytes.length);
    this.room -= taken;
    if (taken > 0) this.sent.push([...bytes.subarray(0, taken)]);
    return taken;
  }
  close(): void {
    this.closed++;
  }
  makeRoom(): void {
    this.room = Infinity;
    this.handlers?.writable();
  }
}

/** Byte 0x80+n is handshake byte n; plaintext and ciphertext are the same. Its output holds at most 4 bytes. */
class FakeEngine implements TlsEngine {
  output: number[] = [0x80];
  input: number[] = [];
  now = TLS_HANDSHAKING;
  kind = 0;
  alertNumber = -1;
  proved = true;
  flags = 0;
  calls: string[] = [];
  takes = Infinity;
  closed = false;
  addAnchor = (): boolean => true;
  addCertificate = (): boolean => true;
  useKey = (): boolean => true;
  usePsk = (): boolean => true;
  start = (...values: unknown[]): boolean => {
    this.calls.push(`start ${values.join(" ")}`);
    return this.now !== TLS_FAILED;
  };
  feed(bytes: Uint8Array, offset: number): number {
    const part = bytes.subarray(offset, offset + this.takes);
    this.input.push(...part);
    return part.length;
  }
  handshake(): number {
    while (this.now === TLS_HANDSHAKING && this.input.length > 0) {
      const byte = this.input.shift();
      if (byte === 0x82) this.now = TLS_OPEN;
      else this.output.push((byte ?? 0) + 0x10);
    }
    return this.now;
  }
  pull(): ArrayBuffer | undefined {
    return this.output.length === 0 ? undefined : (Uint8Array.from(this.output.splice(0)).buffer as ArrayBuffer);
  }
  read(): ArrayBuffer | undefined {
    return this.now !== TLS_OPEN || this.input.length === 0 ? undefined : (Uint8Array.from(this.input.splice(0, 2)).buffer as ArrayBuffer);
  }
  write(bytes: Uint8Array, offset: number): number {
    const part = [...bytes.subarray(offset, offset + 4 - this.output.length)];
    this.output.push(...part);
    return part.length;
  }
  closeNotify(): void {
    this.output.push(0xff);
  }
  state = (): number => this.now;
  failure = (): number => this.kind;
  alert = (): number => this.alertNumber;
  serverProved = (): boolean => this.proved;
  verifyChain = (): boolean => true;
  verifyFlags = (): number => this.flags;
  detail = (): number => 0;
  version = (): number => 0x0304;
  cipherSuite = (): number => 0x1301;
  resumed = (): boolean => false;
  close(): void {
    this.closed = true;
  }
  fail(kind: number): void {
    this.now = TLS_FAILED;
    this.kind = kind;
  }
}

let scheduler: ManualScheduler;
let stream: FakeStream;
let engine: FakeEngine;
let dialer: TlsDialer;
let events: string[];
let data: number[];
let end: Failure | undefined;
let onData: () => void;
let turns: number[];

beforeEach(() => {
  scheduler = new ManualScheduler();
  stream = new FakeStream();
  engine = new FakeEngine();
  events = [];
  data = [];
  end = undefined;
  onData = (): void => undefined;
  turns = [];
  const opener = {
    open: (_host: string, _port: number, handlers: ByteStreamHandlers, turn: number): FakeStream => {
      stream.handlers = handlers;
      turns.push(turn);
      return stream;
    },
  };
  const tls = { createEngine: (): FakeEngine => engine, createSession: () => ({ clear: (): void => undefined }) };
  dialer = new TlsDialer({ opener, scheduler, tls, trustedTimeMs: () => 1234 });
});

const handlers = {
  opened: (info: LinkInfo): void => void events.push(`opened ${info.tlsVersion} ${info.cipher}`),
  data: (bytes: Uint8Array): void => {
    data.push(...bytes);
    onData();
  },
  drain: (): void => void events.push("drain"),
  ended: (reason: Failure): void => {
    events.push(`ended ${reason.code}`);
    end = reason;
  },
};
const dial = (credential: Credential = MTLS): ReturnType<TlsDialer["dial"]> => dialer.dial(ENDPOINT, credential, 5_000, handlers);
const receive = (...bytes: number[]): void => stream.handlers?.data(Uint8Array.from(bytes));
function openLink(): ReturnType<TlsDialer["dial"]> {
  const link = dial();
  stream.handlers?.opened();
  receive(0x81, 0x82);
  stream.sent.length = 0;
  return link;
}

describe("a TLS link", () => {
  it("asks for records of 4 KiB, judged by trusted time, sends each flight in one piece and opens after the handshake", () => {
    dial();
    expect(engine.calls).toEqual(["start broker 1234 [object Object] 4096 0 0 false "]);
    stream.handlers?.opened();
    receive(0x81, 0x81, 0x81);
    expect(stream.sent).toEqual([[0x80], [0x91, 0x91, 0x91]]);
    expect(events).toEqual([]);
    receive(0x82);
    expect(events).toEqual(["opened TLSv1.3 TLS_AES_128_GCM_SHA256"]);
    expect(scheduler.pending).toEqual([]);
  });

  it("hands on what came in the same bytes as the end of the handshake, record by record", () => {
    dial();
    stream.handlers?.opened();
    receive(0x81, 0x82, 1, 2, 3);
    expect(data).toEqual([1, 2, 3]);
  });

  it("feeds an engine that takes little at a time, and gives up on one that takes nothing", () => {
    engine.takes = 1;
    openLink();
    receive(1, 2, 3, 4, 5);
    expect(data).toEqual([1, 2, 3, 4, 5]);
    engine.takes = 0;
    receive(6);
    expect(events.at(-1)).toBe("ended TLS_FAILED");
  });

  it("keeps order and holds back the writer while the socket is full", () => {
    const link = openLink();
    stream.room = 2;
    expect(link.write(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9))).toBe(false);
    expect(link.write(Uint8Array.of(10))).toBe(false);
    expect(stream.sent).toEqual([[1, 2]]);
    stream.makeRoom();
    expect(stream.sent.flat()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(events.slice(1)).toEqual(["drain"]);
    expect(link.write(Uint8Array.of(11))).toBe(true);
    expect(events.slice(1)).toEqual(["drain"]);
  });

  it("sends the rest of a flight when the socket has room again in the middle of the handshake", () => {
    stream.room = 0;
    dial();
    stream.handlers?.opened();
    expect(stream.sent).toEqual([]);
    stream.makeRoom();
    expect(stream.sent).toEqual([[0x80]]);
  });

  it("closes in an orderly way: the last words go out, the peer's are dropped, and it waits a while for the peer", () => {
    const link = openLink();
    link.close();
    link.close();
    expect(stream.sent).toEqual([[0xff]]);
    expect(link.write(Uint8Array.of(1))).toBe(false);
    receive(7);
    expect([data, events.slice(1)]).toEqual([[], []]);
    stream.handlers?.ended(failure("CONNECTION_CLOSED", "peer"));
    expect(events.slice(1)).toEqual(["ended CLOSED_LOCALLY"]);
    expect([stream.closed, engine.closed, scheduler.pending.length]).toEqual([1, true, 0]);
  });

  it("sends what the socket had no room for before it says goodbye, and tells its owner of no room then", () => {
    const link = openLink();
    stream.room = 2;
    link.write(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9));
    link.close();
    stream.makeRoom();
    expect(stream.sent.flat()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 0xff]);
    expect(events.slice(1)).toEqual([]);
    stream.handlers?.ended(failure("CONNECTION_CLOSED", "peer"));
    expect(events.slice(1)).toEqual(["ended CLOSED_LOCALLY"]);
  });

  it("says goodbye when the socket has room again", () => {
    const link = openLink();
    stream.room = 2;
    link.write(Uint8Array.of(1, 2, 3));
    link.close();
    expect(stream.sent.flat()).toEqual([1, 2]);
    stream.makeRoom();
    expect(stream.sent.flat()).toEqual([1, 2, 3, 0xff]);
  });

  it("ends when the engine fails at a write: no byte of the peer may ever come to tell of it", () => {
    const link = openLink();
    engine.write = (): number => {
      engine.fail(4);
      return 0;
    };
    expect(link.write(Uint8Array.of(1))).toBe(false);
    expect(events.slice(1)).toEqual([]);
    scheduler.fire();
    expect(end).toMatchObject({ code: "TLS_FAILED", message: "TLS with broker:8883: not enough memory for TLS" });
    expect([stream.closed, engine.closed, scheduler.pending.length]).toEqual([1, true, 0]);
  });

  it("closes all the same when the peer does not", () => {
    openLink().close();
    scheduler.fire();
    expect(events.slice(1)).toEqual(["ended CLOSED_LOCALLY"]);
    expect(engine.closed).toBe(true);
  });

  it("reports a close before it was up only after close() has returned", () => {
    const link = dial();
    link.close();
    expect(events).toEqual([]);
    scheduler.fire();
    expect(events).toEqual(["ended CLOSED_LOCALLY"]);
  });

  it("begins with another address of the name after a link that came to nothing, and keeps to one that served", () => {
    dial();
    stream.handlers?.ended(failure("CONNECTION_RESET", "in the handshake"));
    engine = new FakeEngine();
    openLink();
    receive(1);
    stream.handlers?.ended(failure("CONNECTION_CLOSED", "after a refusal"));
    engine = new FakeEngine();
    openLink();
    receive(1);
    receive(2);
    stream.handlers?.ended(failure("CONNECTION_CLOSED", "after a while"));
    dial({ kind: "none" });
    expect(turns).toEqual([0, 1, 2, 2]);
  });

  it("can be closed by its owner while it hands over data", () => {
    const link = openLink();
    onData = (): void => link.close();
    receive(1, 2, 3, 4);
    expect(data).toEqual([1, 2]);
    scheduler.fire();
    expect(events.slice(1)).toEqual(["ended CLOSED_LOCALLY"]);
  });

  it("sends its own alert before it ends on a failure, and reports it once", () => {
    openLink();
    engine.fail(3);
    engine.output.push(0xee);
    receive(1);
    expect(stream.sent).toEqual([[0xee]]);
    stream.handlers?.ended(failure("CONNECTION_RESET", "peer"));
    expect(events.slice(1)).toEqual(["ended TLS_FAILED"]);
  });

  it("tells an orderly end of TLS, an end of the stream and the time limit apart", () => {
    openLink();
    engine.now = TLS_CLOSED;
    receive(1);
    expect(end).toMatchObject({ code: "CONNECTION_CLOSED" });
    engine = new FakeEngine();
    openLink();
    stream.handlers?.ended(failure("CONNECTION_RESET", "peer"));
    expect(end).toMatchObject({ code: "CONNECTION_RESET" });
    engine = new FakeEngine();
    dial();
    scheduler.fire();
    expect(end).toMatchObject({ code: "CONNECT_TIMEOUT", message: "no connection to broker:8883 within 5000 ms" });
  });

  it.each([
    [1, 45, 0, "CERTIFICATE_EXPIRED", "credential"],
    [1, 80, 0, "TLS_FAILED", "network"],
    [2, -1, 8 + 1, "SERVER_CA_UNKNOWN", "server-trust"],
    [2, -1, 1 + 4, "SERVER_CERTIFICATE_EXPIRED", "server-trust"],
    [2, -1, 2, "SERVER_CERTIFICATE_NOT_YET_VALID", "server-trust"],
    [2, -1, 16 + 4, "SERVER_CERTIFICATE_INVALID", "server-trust"],
    [2, -1, 4, "SERVER_NAME_MISMATCH", "server-trust"],
    [3, -1, 0, "TLS_FAILED", "network"],
    [4, -1, 0, "TLS_FAILED", "network"],
    [5, -1, 0, "KEY_MISSING", "credential"],
    [6, -1, 0, "KEY_MISMATCH", "credential"],
    [7, -1, 0, "TLS_FAILED", "network"],
    [8, -1, 0, "TLS_FAILED", "network"],
  ])("takes failure %i with alert %i and verify flags %i for %s", (kind, alert, flags, code, failureClass) => {
    openLink();
    engine.fail(kind);
    engine.alertNumber = alert;
    engine.flags = flags;
    receive(1);
    expect(end).toMatchObject({ code, class: failureClass });
  });
});

describe("an alert", () => {
  const endBy = (alert: number, proved: boolean, credential?: Credential): Failure | undefined => {
    dial(credential);
    engine.fail(1);
    engine.alertNumber = alert;
    engine.proved = proved;
    receive(1);
    return end;
  };

  it.each([41, 42, 43, 44, 45, 46, 48, 49, 116])(
    "%i is no verdict on our certificate from a server that has not proved who it is",
    (alert) => {
      const found = endBy(alert, false);
      expect(found).toMatchObject({ code: "TLS_FAILED", class: "network", alert });
      expect(found?.message).toContain("anyone on the network path could have sent");
      engine = new FakeEngine();
      expect(endBy(alert, true)).toMatchObject({ class: "credential", alert });
    },
  );

  it.each([20, 40, 47, 49, 51, 115])("%i refuses a pre-shared key, for which there is no proof before", (alert) => {
    expect(endBy(alert, false, { kind: "psk", slot: "psk", identity: "dev1" })).toMatchObject({ code: "PSK_REJECTED", alert });
  });
});

describe("the dialer", () => {
  it("judges by the time the endpoint names, and by its own trusted time where none is named", () => {
    dialer.dial({ ...ENDPOINT, validAtMs: 99_000 }, MTLS, 5_000, handlers);
    dialer.dial({ ...ENDPOINT, validAtMs: 0 }, { kind: "psk", slot: "psk", identity: "dev1" }, 5_000, handlers);
    dial();
    expect(engine.calls.map((call) => call.split(" ")[2])).toEqual(["99000", "0", "1234"]);
  });

  it("does not connect when the engine cannot start, and says so only after dial has returned", () => {
    engine.fail(6);
    const link = dial();
    expect(events).toEqual([]);
    expect(stream.handlers).toBeUndefined();
    expect([link.write(Uint8Array.of(1)), engine.closed]).toEqual([false, true]);
    scheduler.fire();
    expect(events).toEqual(["ended KEY_MISMATCH"]);
  });

  it("takes a certificate it has no memory for as no fault of the certificate", () => {
    engine.addCertificate = (): boolean => {
      engine.fail(4);
      return false;
    };
    dial();
    scheduler.fire();
    expect(end).toMatchObject({ code: "TLS_FAILED", class: "network" });
  });

  it("offers no session to resume with a pre-shared key", () => {
    dial({ kind: "psk", slot: "psk", identity: "dev1" });
    expect(engine.calls).toEqual(["start broker 1234  4096 0 0 false "]);
  });

  it("dials plaintext without an engine, and holds back the writer there too", () => {
    const link = dial({ kind: "none" });
    stream.handlers?.opened();
    expect(events).toEqual(["opened none none"]);
    receive(1, 2);
    stream.room = 1;
    expect([data, link.write(Uint8Array.of(3, 4)), link.write(Uint8Array.of(5))]).toEqual([[1, 2], false, false]);
    stream.makeRoom();
    expect(stream.sent.flat()).toEqual([3, 4, 5]);
    expect(events.slice(1)).toEqual(["drain"]);
    link.close();
    stream.handlers?.ended(failure("CONNECTION_CLOSED", "peer"));
    expect(events.at(-1)).toBe("ended CLOSED_LOCALLY");
  });

  it("does not throw when there is no memory for an engine or a session, and frees what it has", () => {
    const exhausted = (): never => {
      throw new Error("no memory");
    };
    for (const lacking of [{ createEngine: exhausted }, { createSession: exhausted }]) {
      const tls = { createEngine: (): FakeEngine => engine, createSession: () => ({ clear: (): void => undefined }), ...lacking };
      dialer = new TlsDialer({ opener: { open: () => stream }, scheduler, tls, trustedTimeMs: () => 0 });
      dial();
      scheduler.fire();
      expect(end).toMatchObject({ code: "TLS_FAILED", message: "TLS with broker:8883: no memory" });
    }
    expect(engine.closed).toBe(true);
  });

  describe("when the server went down to TLS 1.2 and signed in a way that only 1.3 has here", () => {
    const engines: FakeEngine[] = [];
    beforeEach(() => {
      engines.length = 0;
      const tls = {
        createEngine(): FakeEngine {
          engines.push(new FakeEngine());
          return engines.at(-1) as FakeEngine;
        },
        createSession: () => ({ clear: (): void => undefined }),
      };
      const opener = {
        open(_host: string, _port: number, to: ByteStreamHandlers): FakeStream {
          stream = new FakeStream();
          stream.handlers = to;
          return stream;
        },
      };
      dialer = new TlsDialer({ opener, scheduler, tls, trustedTimeMs: () => 1234 });
    });

    function refuse(at: number): void {
      const refusing = engines[at] as FakeEngine;
      refusing.version = (): number => 0x0303;
      refusing.detail = (): number => -0x6600;
      refusing.fail(3);
      receive(0x81);
    }

    it("dials once more for 1.2 alone, unseen by the owner", () => {
      dial();
      stream.handlers?.opened();
      const first = stream;
      refuse(0);
      expect([first.closed, engines[0]?.closed, events]).toEqual([1, true, []]);
      expect(engines[1]?.calls).toEqual(["start broker 1234 [object Object] 4096 0 771 true "]);
      stream.handlers?.opened();
      receive(0x81, 0x82);
      expect(events).toEqual(["opened TLSv1.3 TLS_AES_128_GCM_SHA256"]);
    });

    it("does so only once, and not where one version is set", () => {
      dial();
      refuse(0);
      refuse(1);
      expect([events, engines.length]).toEqual([["ended TLS_FAILED"], 2]);
      dialer = new TlsDialer(
        {
          opener: { open: (_host, _port, to) => ((stream.handlers = to), stream) },
          scheduler,
          tls: { createEngine: () => engine, createSession: () => ({ clear: (): void => undefined }) },
          trustedTimeMs: () => 1234,
        },
        { maximumVersion: 0x0303 },
      );
      dial();
      engine.version = (): number => 0x0303;
      engine.detail = (): number => -0x6600;
      engine.fail(3);
      receive(0x81);
      expect(events).toEqual(["ended TLS_FAILED", "ended TLS_FAILED"]);
    });
  });

  it("cannot do TLS on a host that has no engine", () => {
    dialer = new TlsDialer({ opener: { open: () => stream }, scheduler, trustedTimeMs: () => 0 });
    dial().close();
    scheduler.fire();
    expect(events).toEqual(["ended CLOSED_LOCALLY"]);
    dial();
    scheduler.fire();
    expect(events.at(-1)).toBe("ended TLS_FAILED");
  });
});
