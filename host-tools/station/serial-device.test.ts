import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { openSerialDevice } from "./serial-device.js";

it("says of a name without a device behind it that it is no serial port, and what to do", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hawser-port-"));
  const path = join(folder, "port");
  // As a port whose driver has let go of it, a socket is there by its name and cannot be opened: ENXIO.
  const socket = createServer();
  await new Promise<void>((resolve) => socket.listen(path, resolve));
  onTestFinished(() => {
    socket.close();
    rmSync(folder, { recursive: true, force: true });
  });
  expect(() => openSerialDevice(folder)).toThrow(expect.objectContaining({ code: "NOT_A_SERIAL_PORT" }));
  expect(() => openSerialDevice(path)).toThrow(
    expect.objectContaining({
      code: "NOT_A_SERIAL_PORT",
      message: expect.stringContaining(path) as string,
      nextStep: expect.stringContaining("Plug") as string,
    }),
  );
});
