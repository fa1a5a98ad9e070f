/** Moddable's ECMA-419 MQTT client, as far as the bench uses it. */
declare module "mqttclient" {
  interface Control {
    operation: number;
  }
  export default class MQTTClient {
    static readonly CONNACK: number;
    static readonly PUBACK: number;
    static readonly SUBACK: number;
    static readonly SUBSCRIBE: number;
    constructor(options: Record<string, unknown> & { onControl: (this: MQTTClient, control: Control) => void });
    write(data: Uint8Array | null, options: Record<string, unknown>): number;
  }
}
