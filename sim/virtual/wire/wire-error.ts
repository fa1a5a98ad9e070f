/** The client sent what MQTT forbids; the message says what. */
export class WireError extends Error {
  override readonly name: string = "WireError";
}
