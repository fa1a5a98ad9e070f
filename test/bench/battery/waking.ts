/** What the parts of the battery bench tell each other. */

export const TOPIC = "up/reading";
export const READING = '{"celsius":21.5}';

export interface WakingOrder {
  client: "hawser" | "mqtt.js";
  id: string;
  port: number;
  version: string;
  keepSessions: boolean;
  messagesWithConnect: number;
  vault: string;
  passphrase: string;
  keyFile: string;
  certificateFile: string;
  caFile: string;
}

/** Printed by a waking when it has PUBACK; it leaves when it is told to. */
export const CONFIRMED = "confirmed";

export interface WakingResult {
  resumed: boolean;
  /** Of the whole process, from before the client is made to after it has left. */
  cpuMicros?: number;
  /** Of XS. */
  byteCodes?: number;
}
