import { Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { encodeFrame, FrameDecoder } from "../../sdk/provisioning/frames.js";
import { answerPayload, RequestAssembler } from "../../sdk/provisioning/parts.js";
import { StationLink } from "./station-link.js";

type Request = Record<string, unknown> & { requestId: string };

/** A device that answers as it is told, over a line that loses what it is told to. */
function scene(
  answer: (request: Request) => object | undefined,
  loses: (frame: number, to: "device" | "station") => boolean = () => false,
) {
  const frames = new FrameDecoder();
  const requests: Request[] = [];
  let assembler = new RequestAssembler();
  const counts = { device: 0, station: 0 };
  const line = new Duplex({
    read: () => undefined,
    write(bytes: Uint8Array, _encoding, done) {
      if (!loses(counts.device++, "device")) for (const frame of frames.feed(bytes)) if ("payload" in frame) take(frame.payload);
      done();
    },
  });
  const send = (payload: Uint8Array): void => {
    if (!loses(counts.station++, "station")) line.push(encodeFrame(payload));
  };
  const take = (payload: Uint8Array): void => {
    const taken = assembler.take(payload);
    if (taken === undefined) return;
    if ("reply" in taken) return send(taken.reply);
    const request = JSON.parse(Buffer.from(taken.request).toString()) as Request;
    requests.push(request);
    const fields = answer(request);
    if (fields !== undefined) send(answerPayload({ v: 1, requestId: request.requestId, ...fields }));
  };
  const restart = (): void => void (assembler = new RequestAssembler());
  const link = new StationLink(line, { ackTimeoutMs: 10, answerTimeoutMs: 20 });
  return { link, line, requests, counts, restart, send };
}

const LONG = { text: "x".repeat(1_500) };

describe("StationLink", () => {
  it("carries a request in parts, each when the last was taken, and returns the answer", async () => {
    const { link, requests, counts } = scene(() => ({ state: "empty" }));
    expect(await link.request("install", LONG)).toMatchObject({ state: "empty" });
    expect(requests).toMatchObject([{ v: 1, type: "install", ...LONG }]);
    expect(counts.device).toBe(counts.station);
  });

  it("gets through a line that loses one frame in four, either way", async () => {
    const { link, requests, counts } = scene(
      () => ({ ok: true }),
      (frame) => frame % 4 === 1,
    );
    for (let i = 0; i < 2; i++) expect(await link.request("install", { ...LONG, i })).toMatchObject({ ok: true });
    expect(new Set(requests.map(({ requestId }) => requestId)).size).toBe(2);
    expect(counts.device).toBeGreaterThan(2 * 14);
  });

  it("asks again, by the same id, when the answer was lost", async () => {
    let lost = 0;
    const { link, requests } = scene(() => (lost++ === 0 ? undefined : { ok: true }));
    await link.request("status");
    expect(requests).toHaveLength(2);
    expect(requests[0]).toEqual(requests[1]);
  });

  it("begins again when the device has lost the first parts", async () => {
    const parts = scene(
      () => ({ ok: true }),
      (frame, to) => {
        if (to === "device" && frame === 5) parts.restart();
        return false;
      },
    );
    expect(await parts.link.request("install", LONG)).toMatchObject({ ok: true });
    expect(parts.requests).toHaveLength(1);
  });

  it("passes over noise, and answers to others", async () => {
    const { link, line } = scene(({ requestId }) => {
      line.push(Buffer.from("boot log\r\n\x00\x05\x01"));
      line.push(encodeFrame(answerPayload({ v: 1, requestId: `${requestId.slice(1)}0`, state: "other" })));
      line.push(encodeFrame(Uint8Array.of(2, 0, 0, 1)));
      return { state: "mine" };
    });
    expect(await link.request("status")).toMatchObject({ state: "mine" });
  });

  it("says when nobody answers", async () => {
    const { link, counts } = scene(() => undefined);
    await expect(link.request("status")).rejects.toMatchObject({ code: "DEVICE_SILENT" });
    expect(counts.device).toBe(3);
  });

  it("ends with what the device refuses with, also when it could not read the request", async () => {
    const refusal = (code: string): object => ({ error: { code, message: "no" } });
    await expect(scene(() => refusal("WRONG_STATE")).link.request("status")).rejects.toMatchObject({ code: "WRONG_STATE" });
    await expect(scene(() => ({ requestId: "", ...refusal("BAD_REQUEST") })).link.request("status")).rejects.toMatchObject({
      code: "BAD_REQUEST",
    });
    await expect(scene(() => refusal("IDENTITY_CORRUPT")).link.request("hello")).rejects.toMatchObject({
      nextStep: expect.stringContaining("erase_flash") as string,
    });
    await expect(scene(() => refusal("not a code")).link.request("status")).rejects.toMatchObject({ code: "BAD_ANSWER" });
    await expect(scene(() => ({ v: 2 })).link.request("status")).rejects.toMatchObject({ code: "BAD_ANSWER" });
  });

  it("says when the line is lost, during a request and before one", async () => {
    const { link, line } = scene(() => undefined);
    const asked = link.request("status");
    line.push(null);
    await expect(asked).rejects.toMatchObject({ code: "LINE_LOST" });
    await expect(link.request("status")).rejects.toMatchObject({ code: "LINE_LOST" });
  });

  it("does not begin what no device would take", async () => {
    const { link, counts } = scene(() => ({}));
    await expect(link.request("install", { text: "x".repeat(9_000) })).rejects.toMatchObject({ code: "REQUEST_TOO_LARGE" });
    expect(counts.device).toBe(0);
  });
});
