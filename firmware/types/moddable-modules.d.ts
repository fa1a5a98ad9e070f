/** Modules of Moddable SDK 8 that `@moddable/typings` 5.6 does not know yet, as far as the boards use them. */

declare module "embedded:network/interface/wifi" {
  export default class WiFi {
    constructor(options: { onChanged?: (this: WiFi, property: "connection" | "address") => void });
    connect(options: { SSID: string; password?: string }): void;
    disconnect(): void;
    close(): void;
    readonly connection: number;
    readonly RSSI: number | undefined;
  }
}

declare module "embedded:storage/key-value" {
  export interface Storage extends Iterable<string> {
    read(key: string): ArrayBuffer | string | number | bigint | undefined;
    write(key: string, value: ArrayBufferLike | ArrayBufferView | string | number | bigint): void;
    delete(key: string): void;
    close(): void;
  }
  const storage: { open(options: { path: string; mode?: "r" | "r+"; format?: "buffer" | "string" }): Storage };
  export default storage;
}

declare module "embedded:storage/files" {
  export interface File {
    read(count: number, position: number): ArrayBuffer;
    write(buffer: ArrayBufferLike | ArrayBufferView, position: number): void;
    flush(): void;
    status(): { size: number; mode: number };
    close(): void;
  }
  export interface Directory {
    openFile(options: { path: string; mode?: "r" | "r+" | "w" | "w+" }): File;
    openDirectory(options: { path: string }): Directory;
    createDirectory(path: string): boolean;
    delete(path: string): boolean;
    move(from: string, to: string): void;
    status(path: string): { size: number; mode: number };
    scan(): IterableIterator<string>;
  }
  const root: Directory;
  export default root;
}
