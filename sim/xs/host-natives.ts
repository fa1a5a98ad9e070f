/** The XS host's own C functions (`sim/xs/host`), typed. Only in programs that run on that host. */
declare function native<Callable>(name: string): Callable;

export interface HeapFigures {
  /** 16 on 32 bits, as on the ESP32; 32 on 64 bits. */
  slotBytes: number;
  slotsUsed: number;
  slotsPeak: number;
  slotsTotal: number;
  chunkBytesUsed: number;
  chunkBytesPeak: number;
  chunkBytesTotal: number;
  stackSlotsPeak: number;
  stackSlotsTotal: number;
  /** Names that are not in the shared machine. */
  names: number;
  collections: number;
}

export const TCP_OPENED = 0;
export const TCP_DATA = 1;
export const TCP_WRITABLE = 2;
export const TCP_ENDED = 3;
export type TcpHandler = (event: number, value?: ArrayBuffer | string) => void;

export const processArguments = native<() => string[]>("xs_arguments");
/** The process ends once the running callback has returned. */
export const exit = native<(code: number) => void>("xs_exit");
/** One line on standard output. */
export const print = native<(line: string) => void>("xs_print");
/** One line on standard error. */
export const printError = native<(line: string) => void>("xs_log");
export const monotonicMs = native<() => number>("xs_monotonic_ms");
export const wallMs = native<() => number>("xs_wall_ms");
export const randomBytes = native<(sizeBytes: number) => ArrayBuffer>("xs_random");
/** Each line of standard input, undefined at its end. Keeps the process alive until then. */
export const onLine = native<(handler: (line?: string) => void) => void>("xs_on_line");
/** SIGUSR1, SIGTERM and SIGINT, which then do not end the process by themselves. */
export const onSignal = native<(handler: (name: string) => void) => void>("xs_on_signal");
/**
 * Each rejection that nobody has handled once no promise job is left. Without a handler it ends the process; so does, with one, a promise
 * that is rejected and collected within one host callback.
 */
export const onRejection = native<(handler: (reason: unknown) => void) => void>("xs_on_rejection");
export const setTimer = native<(delayMs: number, run: () => void) => number>("xs_timer_set");
export const clearTimer = native<(id: number) => void>("xs_timer_clear");
export const openTcp = native<(host: string, port: number, handler: TcpHandler, turn: number) => number>("xs_tcp_open");
export const writeTcp = native<(id: number, bytes: Uint8Array) => number>("xs_tcp_write");
export const pauseTcp = native<(id: number, paused: boolean) => void>("xs_tcp_pause");
export const closeTcp = native<(id: number) => void>("xs_tcp_close");
export const getRecord = native<(key: string) => ArrayBuffer | undefined>("xs_storage_get");
export const putRecord = native<(key: string, value: Uint8Array) => void>("xs_storage_put");
export const deleteRecord = native<(key: string) => void>("xs_storage_delete");
export const listRecords = native<() => string[]>("xs_storage_list");
export const collectGarbage = native<() => void>("xs_collect_garbage");
/**
 * `held()` within a callback of the host that has taken more than `limitMs` of the processor's time, on top of what holds it, and
 * `held(tookMs)` once that is over. Counts `meter` from then on in steps of its own.
 */
export const onHeld = native<(limitMs: number, held: (tookMs?: number) => void) => void>("xs_on_held");
/** Byte codes run, modulo 2^32. */
export const meter = native<() => number>("xs_meter");
export const heapFigures = native<() => HeapFigures>("xs_heap");
