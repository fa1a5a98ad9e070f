/** Runs the application's hooks of enhanced authentication (MQTT 5.0, section 4.12) against the AUTH packets of a connection. */
import { errorMessage, HawserError } from "../../errors.js";
import type { EnhancedAuthentication } from "../contract/options.js";
import { protocolError } from "../codec/packet-error.js";
import type { DisconnectPacket, OutboundPacket, Properties } from "../codec/packet-types.js";

const CONTINUE = 0x18;
const REAUTHENTICATE = 0x19;

export class Authentication {
  /** CONNACK came: from now on the broker only answers. */
  #isConnected = false;
  #isEnded = false;
  /** A step of the application is under way: the broker may not send another. */
  #isBusy = false;
  #restarting: { resolve: () => void; reject: (error: Error) => void } | undefined;

  constructor(
    private readonly hooks: EnhancedAuthentication,
    private readonly send: (packet: OutboundPacket) => void,
    private readonly onFailed: (message: string) => void,
  ) {}

  /** The data that goes with CONNECT. */
  start(): Uint8Array | undefined {
    return this.hooks.start();
  }

  /** AUTH from the broker. @throws PacketError */
  received(packet: DisconnectPacket): void {
    const { reasonCode, properties = {} } = packet;
    this.#checkMethod(properties);
    const isUnderWay = !this.#isConnected || this.#restarting !== undefined;
    if (reasonCode === CONTINUE && isUnderWay && !this.#isBusy) return void this.#answer(properties.authenticationData);
    if (reasonCode !== 0 || this.#restarting === undefined) throw protocolError(`AUTH with reason code ${reasonCode} at this place`);
    this.#finish(properties);
    this.#restarting.resolve();
    this.#restarting = undefined;
  }

  /** CONNACK with success. @throws PacketError */
  finished(properties: Properties): void {
    if (properties.authenticationMethod === undefined) throw protocolError("CONNACK without the authentication method");
    this.#checkMethod(properties);
    this.#isConnected = true;
    this.#finish(properties);
  }

  /** Asks the broker for a new exchange on the same connection; settles with its success. */
  async restart(): Promise<void> {
    if (this.#restarting !== undefined)
      throw new HawserError("ALREADY_AUTHENTICATING", "an authentication is already in progress", "Wait for it to finish.");
    const authenticationData = this.hooks.start();
    this.send(this.#packet(REAUTHENTICATE, authenticationData));
    await new Promise<void>((resolve, reject) => (this.#restarting = { resolve, reject }));
  }

  /** The connection ended. */
  ended(): void {
    this.#isEnded = true;
    this.#restarting?.reject(
      new HawserError("NOT_CONNECTED", "the connection ended during authentication", "Wait for the next connection."),
    );
    this.#restarting = undefined;
  }

  async #answer(data: Uint8Array | undefined): Promise<void> {
    this.#isBusy = true;
    try {
      const answer = await this.hooks.respond(data);
      this.#isBusy = false;
      if (!this.#isEnded) this.send(this.#packet(CONTINUE, answer));
    } catch (error) {
      this.onFailed(`the authentication failed: ${errorMessage(error)}`);
    }
  }

  #finish(properties: Properties): void {
    try {
      this.hooks.finish?.(properties.authenticationData);
    } catch (error) {
      this.onFailed(`the broker did not prove itself: ${errorMessage(error)}`);
    }
  }

  #checkMethod(properties: Properties): void {
    const { authenticationMethod: method } = properties;
    if (method !== undefined && method !== this.hooks.method) throw protocolError("another authentication method than was agreed on");
  }

  #packet(reasonCode: number, authenticationData: Uint8Array | undefined): DisconnectPacket {
    const properties: Properties = {
      authenticationMethod: this.hooks.method,
      ...(authenticationData !== undefined && { authenticationData }),
    };
    return { cmd: "auth", reasonCode, properties };
  }
}
