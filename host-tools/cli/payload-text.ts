/** A message's payload as it can be shown: text where it is text, else base64. */

export type ShownPayload = { readonly payload: string } | { readonly payloadBase64: string };

export function shownPayload(bytes: Uint8Array): ShownPayload {
  try {
    return { payload: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch {
    return { payloadBase64: Buffer.from(bytes).toString("base64") };
  }
}
