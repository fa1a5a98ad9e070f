/** One waking on XS, ordered by JSON lines: makes a key, takes in an identity, or publishes one reading and leaves. */
import { keepSessions } from "../../../firmware/sleep/index.js";
import { nativeTls } from "../../../firmware/tls/native-engine.js";
import { nativeRandom, openNativeKeyStore } from "../../../firmware/tls/native-key-store.js";
import { Device } from "../../../sdk/device/device.js";
import { base64Decode, base64Encode } from "../../../sdk/encoding/text.js";
import { installIdentity } from "../../../sdk/identity/store.js";
import * as host from "../../../sim/xs/host-natives.js";
import { fileStorage, xsPlatform } from "../../../sim/xs/xs-platform.js";
import { READING, TOPIC } from "./waking.js";

export type XsOrder =
  | { do: "key" }
  | { do: "install"; id: string; chain: string[]; trustAnchors: string[] }
  | { do: "wake"; port: number; maximumVersion: number; keepSessions: boolean; messagesWithConnect: number }
  | { do: "leave" };

const say = (message: object): void => host.print(JSON.stringify(message));
const keyStore = openNativeKeyStore();
let leave: () => Promise<void> = () => Promise.resolve();

async function obey(order: XsOrder): Promise<void> {
  switch (order.do) {
    case "key":
      keyStore.generate("key-a");
      return say({ publicKey: base64Encode(keyStore.publicKey("key-a")) });
    case "install": {
      const [chain, trustAnchors] = [order.chain, order.trustAnchors].map((list) => list.map(base64Decode)) as [Uint8Array[], Uint8Array[]];
      installIdentity(fileStorage, keyStore, { id: order.id, role: "sensor", chain, trustAnchors });
      return say({ installed: true });
    }
    case "wake":
      return wake(order);
    case "leave":
      return leave();
  }
}

async function wake(order: Extract<XsOrder, { do: "wake" }>): Promise<void> {
  const { port, maximumVersion, keepSessions: isKept, messagesWithConnect } = order;
  const log = (): void => undefined;
  const tls = isKept ? keepSessions(nativeTls, { keyStore, storage: fileStorage, random: nativeRandom, log }) : nativeTls;
  const before = host.meter();
  const platform = xsPlatform({ keyStore, tls, maximumVersion });
  const device = new Device({ broker: { host: "localhost", port }, enrolment: false, messagesWithConnect }, platform);
  let resumed = false;
  device.listen((event) => {
    if (event.type === "connected") ({ resumed } = event);
  });
  leave = async (): Promise<void> => {
    await device.stop();
    const byteCodes = host.meter() - before;
    say({ resumed, byteCodes });
  };
  const published = device.publish(TOPIC, READING, { qos: 1 });
  device.start();
  await published;
  say({ confirmed: true });
}

host.onLine((line) => {
  if (line === undefined) return host.exit(0);
  void obey(JSON.parse(line) as XsOrder).catch((error: unknown) => say({ failed: String(error) }));
});
