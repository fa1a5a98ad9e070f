import { expect, it } from "vitest";
import { EventHub } from "./event-hub.js";

interface Numbered {
  type: "numbered";
  n: number;
}

it("A stream keeps the newest 256 events for a reader that does not read", async () => {
  const hub = new EventHub<Numbered>(() => undefined);
  const stream = hub.stream();
  for (let n = 0; n < 300; n++) hub.emit({ type: "numbered", n });
  expect((await stream.next()).value?.n).toBe(44);
  let count = 1;
  for await (const event of stream) {
    count++;
    if (event.n === 299) break;
  }
  expect(count).toBe(256);
});

it("Leaving the loop ends a stream: it hears nothing more", async () => {
  const hub = new EventHub<Numbered>(() => undefined);
  const stream = hub.stream();
  hub.emit({ type: "numbered", n: 1 });
  for await (const event of stream) if (event.n === 1) break;
  hub.emit({ type: "numbered", n: 2 });
  expect(await stream.next()).toEqual({ value: undefined, done: true });
});

it("What is no function is refused as a listener", () => {
  expect(() => new EventHub<Numbered>(() => undefined).listen(undefined as never)).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
});
