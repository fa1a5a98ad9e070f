/** Everything that is measured, in the order of the table. */
import type { ClientName, PeerName, QoS, Task, Transport } from "./task.js";

export interface Settings {
  /** A longer one comes before and is not counted: it warms up. */
  rounds: number;
  /** A measurement at QoS 1 or 2 against the sink; others have their share. */
  messages: number;
  roundTrips: number;
  /** Over plain TCP; a quarter of them over mTLS. */
  connections: number;
}

export const FULL: Settings = { rounds: 5, messages: 20_000, roundTrips: 200, connections: 3_000 };
export const QUICK: Settings = { rounds: 3, messages: 10_000, roundTrips: 100, connections: 1_000 };

export interface Row {
  name: string;
  peer: PeerName;
  transport: Transport;
  task: Task;
  rivals: readonly ClientName[];
  /** What the sockets alone cost is measured too. */
  hasFloor: boolean;
  /** To be reached: Hawser's share of MQTT.js at most, or microseconds at most. */
  target?: { ratio: number } | { micros: number };
}

const TRANSPORTS: readonly Transport[] = ["plain", "mTLS"];
const PEERS: readonly PeerName[] = ["sink", "mosquitto"];
const SIZES = [32, 1_024] as const;
const LEVELS: readonly QoS[] = [0, 1, 2];

/** The rows whose names contain `only`. */
export function rowsOf(settings: Settings, only: string): Row[] {
  const places = PEERS.flatMap((peer) => TRANSPORTS.map((transport) => ({ peer, transport })));
  const flows = places.flatMap((place) => flowRows(place, settings));
  const roundTrips = places.map((place) => roundTripRow(place, settings.roundTrips));
  const idle = TRANSPORTS.map((transport) => idleRow(transport, settings.connections));
  return [...flows, ...roundTrips, ...idle].filter(({ name }) => name.toLowerCase().includes(only.toLowerCase()));
}

function flowRows({ peer, transport }: Pick<Row, "peer" | "transport">, settings: Settings): Row[] {
  return (["publish", "receive"] as const).flatMap((kind) =>
    LEVELS.flatMap((qos) =>
      SIZES.map((sizeBytes): Row => {
        // A QoS 0 message is cheap, and mosquitto is slower than any client.
        const messages = Math.ceil(settings.messages * (qos === 0 ? 2 : 1) * (peer === "sink" ? 1 : 0.25));
        const isJudged = peer === "sink" && qos === 1;
        return {
          name: `${kind} QoS ${qos}, ${sizeName(sizeBytes)}, ${transport}, ${peer}`,
          peer,
          transport,
          task: { kind, qos, sizeBytes, messages },
          rivals: ["MQTT.js"],
          hasFloor: isJudged,
          ...(isJudged && { target: { ratio: 0.25 } }),
        };
      }),
    ),
  );
}

function roundTripRow({ peer, transport }: Pick<Row, "peer" | "transport">, messages: number): Row {
  const task = { kind: "round trip", sizeBytes: 32, messages } as const;
  return {
    name: `round trip QoS 1, 32 B, ${transport}, ${peer}`,
    peer,
    transport,
    task,
    rivals: ["MQTT.js", "MQTT.js noDelay"],
    hasFloor: true,
    target: { micros: 300 },
  };
}

function idleRow(transport: Transport, plainConnections: number): Row {
  const connections = transport === "plain" ? plainConnections : Math.ceil(plainConnections / 4);
  const task = { kind: "idle", connections } as const;
  return {
    name: `idle connection, ${transport}, sink`,
    peer: "sink",
    transport,
    task,
    rivals: ["MQTT.js"],
    hasFloor: true,
    target: { ratio: 0.5 },
  };
}

function sizeName(sizeBytes: number): string {
  return sizeBytes < 1_024 ? `${sizeBytes} B` : `${sizeBytes / 1_024} KiB`;
}
