/**
 * A program for the XS host that a test on Node drives: links of its dialer and slots of its key store, by JSON lines. Test material; the
 * other half is `remote-xs.ts`.
 */
import { keepSessions } from "../../../firmware/sleep/index.js";
import { nativeTls } from "../../../firmware/tls/native-engine.js";
import { nativeRandom, openNativeKeyStore } from "../../../firmware/tls/native-key-store.js";
import { TlsDialer, type TlsDialerOptions } from "../../../firmware/tls/tls-dialer.js";
import { hexEncode } from "../../../sdk/encoding/text.js";
import { errorCode, errorMessage } from "../../../sdk/errors.js";
import type { Credential, Link, LinkHandlers } from "../../../sdk/platform.js";
import * as host from "../../../sim/xs/host-natives.js";
import { fileStorage, hostScheduler, tcpOpener } from "../../../sim/xs/xs-platform.js";

type Command = Record<string, string> & { id: number };
type Handler = (command: Command) => unknown;

function hexDecode(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length / 2 }, (_, index) => parseInt(text.slice(2 * index, 2 * index + 2), 16));
}

const say = (message: object): void => host.print(JSON.stringify(message));
const keyStore = openNativeKeyStore();
const links = new Map<number, Link>();
let clockOffsetMs = 0;
const dialers = new Map<string, TlsDialer>();

export interface RemoteDialerOptions extends TlsDialerOptions {
  /** TLS sessions outlive the program. */
  keepSessions?: boolean;
}

const log = (level: string, message: string): void => say({ log: `${level}: ${message}` });
const lastingTls = keepSessions(nativeTls, { keyStore, storage: fileStorage, random: nativeRandom, log });

/** One dialer for each set of options, so that sessions last. */
function dialer(options: string): TlsDialer {
  const tls = (JSON.parse(options) as RemoteDialerOptions).keepSessions === true ? lastingTls : nativeTls;
  const parts = { opener: tcpOpener, scheduler: hostScheduler, tls, trustedTimeMs: (): number => host.wallMs() + clockOffsetMs };
  const made = dialers.get(options) ?? new TlsDialer(parts, JSON.parse(options) as TlsDialerOptions);
  dialers.set(options, made);
  return made;
}

function credential(text: string): Credential {
  const given = JSON.parse(text) as
    | { kind: "mtls"; slot: string; chain: string[]; trustAnchors: string[] }
    | { kind: "psk"; slot: string; identity: string }
    | { kind: "none" };
  return given.kind === "mtls" ? { ...given, chain: given.chain.map(hexDecode), trustAnchors: given.trustAnchors.map(hexDecode) } : given;
}

function dial(command: Command): void {
  const link = command.id;
  const handlers: LinkHandlers = {
    opened: (info) => say({ link, event: "opened", info }),
    data: (bytes) => say({ link, event: "data", bytes: hexEncode(bytes) }),
    drain: () => say({ link, event: "drain" }),
    ended: (failure) => {
      links.delete(link);
      say({ link, event: "ended", failure });
    },
  };
  links.set(
    link,
    dialer(command.options ?? "{}").dial(
      JSON.parse(command.endpoint ?? ""),
      credential(command.credential ?? ""),
      Number(command.timeoutMs),
      handlers,
    ),
  );
}

const bytes = (command: Command): Uint8Array => hexDecode(command.bytes ?? "");
const slot = (command: Command): string => command.slot ?? "";

const HANDLERS: Readonly<Record<string, Handler>> = {
  dial,
  write: (command) => links.get(Number(command.link))?.write(bytes(command)),
  close: (command) => links.get(Number(command.link))?.close(command.mayReturn === "true"),
  record: (command) => hexEncode(fileStorage.get(command.key ?? "") ?? new Uint8Array(0)),
  putRecord: (command) => fileStorage.put(command.key ?? "", bytes(command)),
  setClock: (command) => void (clockOffsetMs = Number(command.offsetMs)),
  generate: (command) => keyStore.generate(slot(command)),
  csr: (command) => hexEncode(keyStore.csr(slot(command), command.commonName ?? "")),
  sign: (command) => hexEncode(keyStore.sign(slot(command), bytes(command))),
  publicKey: (command) => hexEncode(keyStore.publicKey(slot(command))),
  mac: (command) => hexEncode(keyStore.mac(slot(command), bytes(command))),
  importPsk: (command) => keyStore.importPsk(slot(command), bytes(command)),
  destroy: (command) => keyStore.destroy(slot(command)),
  has: (command) => keyStore.has(slot(command)),
  heap: () => {
    host.collectGarbage();
    return host.heapFigures();
  },
};

host.onLine((line) => {
  if (line === undefined) return host.exit(0);
  const command = JSON.parse(line) as Command;
  try {
    say({ answer: command.id, result: HANDLERS[command.do ?? ""]?.(command) });
  } catch (error) {
    say({ answer: command.id, error: { code: errorCode(error), message: errorMessage(error) } });
  }
});
