/**
 * `hawser/testing/vitest`: import it once, in a test or in `setupFiles`, and `expect` has the matchers.
 * @module hawser/testing/vitest
 */
import { expect } from "vitest";
import type { DeviceEvent } from "../../sdk/events.js";
import { matchers, type ExpectedPayload } from "./matchers.js";
import type { WaitOptions } from "./test-place.js";

expect.extend(matchers);

declare module "vitest" {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- declarations merge only with vitest's own type parameters
  interface Matchers<T = any> {
    /**
     * A message on a topic (a filter with + and # works), received already or still to come. The payload: its text, a pattern, or an object
     * that its JSON contains.
     */
    toReceive(filter: string, payload?: ExpectedPayload, options?: WaitOptions): Promise<T>;
    /** So many such messages until now. */
    toHaveReceivedTimes(times: number, filter: string, payload?: ExpectedPayload): T;
    /** An event of the device, past or to come, with these fields. */
    toReport(type: DeviceEvent["type"], fields?: object, options?: WaitOptions): Promise<T>;
    /** Online by its certificate, now or soon. */
    toBeOnline(options?: WaitOptions): Promise<T>;
    toHaveUsedPsk(): T;
  }
}
