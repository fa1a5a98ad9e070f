import { beforeEach, describe, expect, it } from "vitest";
import { FakeSerial, type Port } from "../../test/support/firmware/fake-serial.js";
import { SerialPort, type SerialConstructor, type SerialOptions, type SerialSettings } from "./serial-port.js";

beforeEach(() => {
  FakeSerial.made.length = 0;
});

const fakeSerial = (port: Port): SerialConstructor =>
  class extends FakeSerial {
    constructor(options: SerialOptions) {
      super(port, options);
    }
  };

function scene(port: Port, settings: SerialSettings = port === "lin" ? { device: "/dev/ttyUSB0" } : { transmit: 1, receive: 3 }) {
  const received: number[] = [];
  const serial = new SerialPort(fakeSerial(port), settings, (bytes) => received.push(...bytes));
  return { serial, received, fake: FakeSerial.made.at(-1)! };
}

const bytesOf = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => i & 0xff);

describe.each<Port>(["esp32", "lin"])("a serial port (%s)", (port) => {
  it("opens at 115200 baud, or as told", () => {
    expect(scene(port).fake.options).toMatchObject({ baud: 115_200, format: "buffer" });
    expect(scene(port, { baud: 9_600, device: "/dev/ttyS1", transmit: 17, receive: 16 }).fake.options.baud).toBe(9_600);
  });

  it("hands on what comes", () => {
    const { fake, received } = scene(port);
    for (const size of [1, 100, 28]) {
      fake.receives(bytesOf(size));
      fake.turn();
    }
    expect(received).toEqual([...bytesOf(1), ...bytesOf(100), ...bytesOf(28)]);
  });

  it("sends everything in order, however little the port takes at a time, and nothing before the port is ready", () => {
    const { serial, fake } = scene(port);
    serial.write(bytesOf(3_000));
    expect(fake.sent).toEqual([]);
    serial.write(Uint8Array.of(255, 254));
    for (let turns = 0; turns < 40; turns++) fake.turn();
    expect(fake.sent).toEqual([...bytesOf(3_000), 255, 254]);
  });

  it("sends what comes while it has nothing to do at once, also part of a larger array", () => {
    const { serial, fake } = scene(port);
    fake.turn();
    serial.write(bytesOf(20).subarray(5, 8));
    expect(fake.sent).toEqual([5, 6, 7]);
  });

  it("drops as a whole what would wait too long in line", () => {
    const { serial, fake } = scene(port);
    serial.write(bytesOf(8_000));
    serial.write(bytesOf(500));
    serial.write(Uint8Array.of(1));
    for (let turns = 0; turns < 100; turns++) fake.turn();
    expect(fake.sent).toHaveLength(8_001);
  });

  it("does nothing more once it is closed, or has vanished", () => {
    const closed = scene(port);
    closed.serial.close();
    closed.serial.close();
    const gone = scene(port);
    gone.fake.turn();
    gone.fake.vanishes();
    for (const { serial, fake } of [closed, gone]) {
      serial.write(bytesOf(5));
      serial.close();
      expect(fake.sent).toEqual([]);
    }
  });

  it("can be closed while it hands on what came", () => {
    const { fake, serial } = scene(port);
    const given: number[] = [];
    const other = new SerialPort(fakeSerial(port), fake.options, (bytes) => {
      given.push(...bytes);
      other.close();
    });
    FakeSerial.made.at(-1)!.receives(bytesOf(4));
    FakeSerial.made.at(-1)!.turn();
    expect(given).toEqual([...bytesOf(4)]);
    serial.close();
  });
});

describe("where the port is", () => {
  it("is UART 0 of an ESP32 unless another or a device is named", () => {
    expect(scene("esp32", { transmit: 21, receive: 20 }).fake.options).toMatchObject({ port: 0, transmit: 21, receive: 20 });
    expect(scene("esp32", { port: 1, transmit: 17, receive: 16 }).fake.options).toMatchObject({ port: 1, transmit: 17, receive: 16 });
    expect(scene("lin").fake.options).not.toHaveProperty("transmit");
  });

  it("must be one that can be had", () => {
    expect(() => scene("lin", {})).toThrow("No such file");
  });
});
