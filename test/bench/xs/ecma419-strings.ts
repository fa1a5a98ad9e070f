/** In place of two functions of Moddable's engine that the engine sources at hand are built without, and which its MQTT client calls. */
import { utf8Encode } from "../../../sdk/encoding/text.js";
import { decodeUtf8 } from "../../../sdk/encoding/utf8.js";

/** `ArrayBuffer.fromString` */
export const bufferFromString = (text: string): ArrayBufferLike => utf8Encode(text).buffer;

/** `String.fromArrayBuffer` */
export const stringFromBuffer = (buffer: ArrayBuffer): string | undefined => decodeUtf8(new Uint8Array(buffer));
