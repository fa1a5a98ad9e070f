/**
 * The parts of ECMA-419 (and of Moddable's `timer`, `time` and `System`) that the platform uses, as shapes: the logic gets them injected,
 * so it runs without Moddable in tests. What the real ones do beyond their types is written where it is used, and acted out by
 * `test/support/firmware/fake-tcp.ts`.
 */

/** `embedded:io/socket/tcp`. A method throws once the socket is closed. */
export interface TcpSocket {
  /** Takes `count` bytes; throws when there are fewer, or for 0. */
  read(count: number): unknown;
  /** Takes all or throws. @returns the room left, where the port says so */
  write(bytes: Uint8Array): unknown;
  close(): void;
}

export interface TcpOptions {
  /** IPv4 in dotted form: sockets know no names. */
  address: string;
  port: number;
  nodelay: boolean;
  format: "buffer";
  onReadable(count: number): void;
  onWritable(count: number): void;
  /** Says neither what happened nor whether it was an error at all: a peer's orderly close comes here too. */
  onError(): void;
}

export type TcpConstructor = new (options: TcpOptions) => TcpSocket;

/** `embedded:io/socket/udp` */
export interface UdpSocket {
  /** The oldest datagram, or undefined when there is none. */
  read(): (ArrayBuffer & { address: string; port: number }) | undefined;
  write(bytes: Uint8Array, address: string, port: number): void;
  close(): void;
}

export type UdpConstructor = new (options: { onReadable(count: number): void }) => UdpSocket;

/** `System.resolve`: calls back with the IPv4 address, or undefined; may never call back, cannot be stopped. */
export type ResolveName = (name: string, done: (name: string, address?: string) => void) => void;

/** `timer` */
export interface TimerModule<Handle> {
  set(callback: () => void, delayMs: number): Handle;
  clear(timer: Handle): void;
}

/** `embedded:network/interface/wifi`. */
export interface WifiInterface {
  /** Throws while an attempt is under way, and when the driver refuses. */
  connect(options: { SSID: string; password?: string }): void;
  /** Silent: no `onChanged` follows. */
  disconnect(): void;
  /** See `WifiState`. */
  readonly connection: number;
  readonly RSSI: number | undefined;
}

export type WifiConstructor = new (options: { onChanged(property: string): void }) => WifiInterface;

/** What `embedded:storage/key-value` opens: an NVS namespace on the ESP32. */
export interface KeyValueStore extends Iterable<string> {
  read(key: string): unknown;
  write(key: string, value: Uint8Array): void;
  delete(key: string): void;
}

/** `embedded:storage/files` */
export interface FileDirectory {
  openFile(options: { path: string; mode?: "r" | "r+" | "w" | "w+" }): OpenFile;
  openDirectory(options: { path: string }): FileDirectory;
  createDirectory(path: string): boolean;
  /** @returns false when there was none */
  delete(path: string): boolean;
  move(from: string, to: string): void;
  /** An absent file has mode 0. */
  status(path: string): { mode: number; size: number };
  scan(): Iterable<string>;
}

export interface OpenFile {
  /** Fewer bytes than asked for at the file's end. */
  read(count: number, position: number): ArrayBuffer;
  write(bytes: Uint8Array, position: number): void;
  /** Until all that was written is on the disk. */
  flush(): void;
  status(): { size: number };
  close(): void;
}
