/** Host names to IPv4 addresses with a time limit of our own: the system's lookup has none that can be relied on, and cannot be stopped. */
import type { Cancel, Scheduler } from "../../sdk/platform.js";
import type { ResolveName } from "./ecma419.js";

const TIME_LIMIT_MS = 10_000;

export class NameResolver {
  constructor(
    private readonly resolveName: ResolveName,
    private readonly scheduler: Scheduler,
    private readonly timeLimitMs = TIME_LIMIT_MS,
  ) {}

  /**
   * Calls `done` once, after this has returned, with the address or, when there is none to be had in time, undefined.
   * @returns ends it without a call; an answer that comes later is dropped
   */
  resolve(host: string, done: (address: string | undefined) => void): Cancel {
    let open = true;
    const finish = (address: string | undefined): void => {
      if (!open) return;
      open = false;
      cancelLimit();
      done(address);
    };
    const isAddress = isIpv4(host);
    const cancelLimit = this.scheduler.after(isAddress ? 0 : this.timeLimitMs, () => finish(isAddress ? host : undefined));
    if (!isAddress) this.#ask(host, finish);
    return () => {
      open = false;
      cancelLimit();
    };
  }

  #ask(host: string, finish: (address: string | undefined) => void): void {
    // Ports differ in whether they may answer before they return; none of it reaches the caller early.
    let returned = false;
    const answer = (address: string | undefined): void => {
      const usable = address !== undefined && isIpv4(address) ? address : undefined;
      if (returned) return finish(usable);
      this.scheduler.after(0, () => finish(usable));
    };
    try {
      this.resolveName(host, (_name, address) => answer(address));
    } catch {
      answer(undefined);
    }
    returned = true;
  }
}

function isIpv4(text: string): boolean {
  const parts = text.split(".");
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
}
