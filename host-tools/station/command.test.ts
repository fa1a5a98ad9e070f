import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { IdentityStore } from "../../sdk/identity/store.js";
import { buildCli, hawser, RunningCli } from "../../test/support/host-tools/test-cli.js";
import { directoryWithCa, ENV, json } from "../../test/support/host-tools/test-fleet.js";
import { SerialLine } from "../../test/support/station/serial-line.js";
import { TestDevice } from "../../test/support/station/agent-device.js";

beforeAll(buildCli);

const lines: SerialLine[] = [];
afterEach(async () => {
  for (const line of lines.splice(0)) await line.cut();
});

async function bench(): Promise<{ cwd: string; device: TestDevice; line: SerialLine; args: string[] }> {
  const cwd = await directoryWithCa();
  const device = new TestDevice();
  const line = await SerialLine.open();
  lines.push(line);
  device.connect(line);
  return { cwd, device, line, args: ["provision", "--dir", "ca", "--id", "sensor-1", "--serial", line.path] };
}

interface Provisioned {
  serial: string;
  notAfter: string;
}

interface Listed {
  state: string;
  certificates: { serial: string; status: string }[];
}

const serialOn = ({ storage, keyStore }: TestDevice): string | undefined =>
  IdentityStore.load(storage, keyStore).active?.certificate.serial;

describe("hawser provision --serial", { timeout: 60_000 }, () => {
  it("provisions the device on the port, at another baud rate too, and says so again when asked again", async () => {
    const { cwd, device, line, args } = await bench();
    const made = await json<Provisioned>(cwd, ...args, "--role", "meter", "--baud", "9600");
    expect(made).toEqual({
      id: "sensor-1",
      role: "meter",
      serial: serialOn(device),
      notAfter: expect.any(String) as string,
      port: line.path,
      replaced: [],
    });
    const { code, stdout, stderr } = await hawser(args, { cwd, env: ENV });
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: `sensor-1 is provisioned: certificate ${made.serial}, valid until ${made.notAfter.slice(0, 10)}, in the device on ${line.path}.\n`,
      stderr: "",
    });
  });

  it("killed while it installs, and run again, installs the same certificate, the only one", async () => {
    const { cwd, device, args } = await bench();
    const killed = new RunningCli(args, { cwd, env: ENV });
    device.amidInstallation(() => killed.signal("SIGKILL"));
    expect(await killed.ended).toMatchObject({ signal: "SIGKILL" });
    const [before] = await json<Listed[]>(cwd, "list", "--dir", "ca");
    const made = await json<Provisioned>(cwd, ...args);
    expect(before).toMatchObject({ state: "active", certificates: [{ serial: made.serial, status: "active" }] });
    expect(await json<Listed[]>(cwd, "list", "--dir", "ca")).toEqual([before]);
    expect(serialOn(device)).toBe(made.serial);
  });

  it("waits for a device that is switched on later, and can be stopped while it waits", async () => {
    const { cwd, device, line, args } = await bench();
    const { onData } = line;
    // Not the echo of a port that nobody has set up yet: that has no zero in it.
    const heard = (): Promise<void> => new Promise((resolve) => (line.onData = (bytes) => void (bytes.includes(0) && resolve())));
    const first = heard();
    const stopped = new RunningCli(args, { cwd, env: ENV });
    await first;
    stopped.signal("SIGINT");
    expect(await stopped.ended).toMatchObject({ code: 130 });
    const second = heard();
    const waiting = new RunningCli(args, { cwd, env: ENV });
    await second;
    line.onData = onData;
    device.restart();
    expect(await waiting.ended).toMatchObject({ code: 0, stderr: "" });
  });

  it.each([
    ["neither a vault nor a port", [], "USAGE", 2],
    ["both", ["--vault", "v", "--serial", "/dev/null"], "USAGE", 2],
    ["a port that is not there", ["--serial", "/dev/ttyNone"], "NOT_FOUND", 6],
    ["what is no port", ["--serial", "/dev/null"], "NOT_A_SERIAL_PORT", 2],
    ["a bad baud rate", ["--serial", "/dev/null", "--baud", "fast"], "BAD_BAUD", 2],
    ["a bad id", ["--serial", "/dev/null", "--id", "a/b"], "INVALID_ID", 2],
    ["a client's role", ["--serial", "/dev/null", "--role", "operator"], "INVALID_ROLE", 2],
  ])("refuses %s", async (_what, flags, code, exit) => {
    const cwd = await directoryWithCa();
    const finished = await hawser(["provision", "--dir", "ca", "--id", "sensor-1", ...flags], { cwd, env: ENV });
    expect(finished).toMatchObject({
      code: exit,
      stdout: "",
      stderr: expect.stringMatching(new RegExp(`^error ${code}: [^\\n]+ Next: [^\\n]+\\n$`)) as string,
    });
  });

  it("says when there is no device, when it is another's, and when the port cannot be set up", async () => {
    const { cwd, device, line, args } = await bench();
    const failed = async (more: string[], code: string, exit: number): Promise<void> => {
      expect(await hawser([...args, ...more], { cwd, env: ENV })).toMatchObject({
        code: exit,
        stderr: expect.stringContaining(`error ${code}: `) as string,
      });
    };
    await failed(["--baud", "12345"], "BAD_BAUD", 2);
    const { onData } = line;
    line.onData = () => undefined;
    await failed(["--wait", "1ms"], "DEVICE_SILENT", 4);
    line.onData = onData;
    await json(cwd, ...args);
    await failed(["--id", "sensor-2"], "ALREADY_PROVISIONED", 5);
    device.restart();
    await failed(["--id", "sensor-2", "--replace"], "ALREADY_PROVISIONED", 5);
  });
});
