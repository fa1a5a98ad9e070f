/**
 * What `packets.ts` uses of mqtt-packet 9, without the Node types its own declarations need (sdk/tsconfig.json maps the name to here).
 */
declare const mqttPacket: {
  generate(packet: object, options?: { protocolVersion: number }): Uint8Array;
  writeToStream: {
    (packet: object, stream: object, options?: { protocolVersion: number }): boolean;
    cacheNumbers: boolean;
  };
  parser(options?: { protocolVersion: number }): {
    on(event: string, listener: (value: never) => void): unknown;
    parse(bytes: Uint8Array): number;
  };
};
export default mqttPacket;
