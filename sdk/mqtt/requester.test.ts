import mqttPacket from "mqtt-packet";
import { expect, test } from "vitest";
import type { Requester } from "./index.js";
import { SessionWorld, watch } from "../../test/support/mqtt/session-world.js";
import type { LibraryPacket, PacketLibrary } from "../../test/support/mqtt/scripted-broker.js";

const library = mqttPacket as unknown as PacketLibrary;

async function ready(): Promise<{ w: SessionWorld; requester: Requester }> {
  const w = new SessionWorld(library);
  await w.connect();
  const requester = w.client.requester("answers/c");
  await w.time.pass(0);
  await w.broker.send({ cmd: "suback", messageId: 1, granted: [1] });
  return { w, requester };
}

function answerTo(request: LibraryPacket | undefined, payload: string): LibraryPacket {
  const { responseTopic, correlationData } = request?.properties as { responseTopic: string; correlationData: Buffer };
  return { cmd: "publish", topic: responseTopic, payload, qos: 0, properties: { correlationData } };
}

test("each answer finds its request, in whatever order they come, and strangers are let pass", async () => {
  const { w, requester } = await ready();
  const requests = [requester.request("do", "a", { properties: { contentType: "text" } }), requester.request("do", "b")];
  await w.time.pass(0);
  const [a, b] = w.broker.of("publish");
  expect(a).toMatchObject({ topic: "do", properties: { responseTopic: "answers/c", contentType: "text" } });
  await w.broker.send(
    { cmd: "publish", topic: "answers/c", payload: "nobody's", qos: 0 },
    answerTo(b, "B"),
    answerTo(a, "A"),
    answerTo(a, "again"),
  );
  expect((await Promise.all(requests)).map((answer) => answer.text())).toEqual(["A", "B"]);
  expect(w.time.timers).toBe(0);
});

test("no answer in time is an error, and so is a request that cannot be sent", async () => {
  const { w, requester } = await ready();
  const late = watch(requester.request("do", "a", { timeoutMs: 500 }));
  await w.time.pass(500);
  expect(late.state).toBe("REQUEST_TIMEOUT");
  await expect(requester.request("bad/#", "a")).rejects.toMatchObject({ code: "INVALID_TOPIC" });
  expect(w.time.timers).toBe(0);
});

test("closing gives up all requests and unsubscribes", async () => {
  const { w, requester } = await ready();
  const open = watch(requester.request("do", "a"));
  await w.time.pass(0);
  const closed = watch(requester.close());
  await w.time.pass(0);
  expect([open.state, w.broker.of("unsubscribe").length]).toEqual(["REQUESTER_CLOSED", 1]);
  await w.broker.send({ cmd: "unsuback", messageId: w.broker.of("unsubscribe")[0]?.messageId as number, granted: [0] });
  expect(closed.state).toBe("resolved");
});

test("without the right to listen no request is sent", async () => {
  const w = new SessionWorld(library);
  await w.connect();
  const requester = w.client.requester("answers/c");
  const request = watch(requester.request("do", "a"));
  await w.time.pass(0);
  await w.broker.send({ cmd: "suback", messageId: 1, granted: [0x87] });
  expect([request.state, w.broker.of("publish")]).toEqual(["NOT_AUTHORIZED", []]);
});
