/**
 * The certificates of a certs-only CMC message, which is how EST hands them out (RFC 7030 section 4.1.3): a PKCS#7 SignedData (RFC 5652)
 * that signs nothing. Read strictly, as DER: each element where it belongs, and nothing behind the last.
 */
import { derElement, type DerElement } from "../../../sdk/identity/certificate.js";
import { hexEncode } from "../../../sdk/encoding/text.js";
import { badAnswer } from "./est-errors.js";

/** No chain with a root and its roll-over certificates is near this. */
const MOST_CERTIFICATES = 16;

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const OBJECT_ID = 0x06;
/** [0], constructed: the content of a ContentInfo, or the certificates of a SignedData. */
const FIRST = 0xa0;
/** [1], constructed: revocation lists. */
const SECOND = 0xa1;
/** 1.2.840.113549.1.7.2 and 1.2.840.113549.1.7.1 */
const SIGNED_DATA = "2a864886f70d010702";
const DATA = "2a864886f70d010701";

/**
 * Each in DER, in the order of the message.
 * @throws HawserError `EST_ANSWER_INVALID`
 */
export function readCertsOnly(der: Uint8Array): Uint8Array[] {
  try {
    return certificatesOf(der);
  } catch (error) {
    throw badAnswer("is not a certs-only message", error);
  }
}

function certificatesOf(der: Uint8Array): Uint8Array[] {
  const message = new Elements(der, { start: 0, end: der.length });
  const info = new Elements(der, message.take(SEQUENCE));
  message.end();
  info.takeId(SIGNED_DATA);
  const content = new Elements(der, info.take(FIRST));
  info.end();
  const signed = new Elements(der, content.take(SEQUENCE));
  content.end();
  signed.take(INTEGER);
  signed.takeEmpty(SET);
  const inner = new Elements(der, signed.take(SEQUENCE));
  inner.takeId(DATA);
  inner.end();
  const list = new Elements(der, signed.take(FIRST));
  if (signed.nextTag === SECOND) signed.take(SECOND);
  // With a signer it would be another kind of message, whose signature nobody here checks.
  signed.takeEmpty(SET);
  signed.end();
  const certificates: Uint8Array[] = [];
  while (list.nextTag !== undefined) {
    const { from, end } = list.take(SEQUENCE);
    if (certificates.push(der.slice(from, end)) > MOST_CERTIFICATES) throw new Error("too many certificates");
  }
  if (certificates.length === 0) throw new Error("no certificates");
  return certificates;
}

/** The elements within one, taken in turn. */
class Elements {
  #at: number;
  readonly #limit: number;

  constructor(
    private readonly der: Uint8Array,
    { start, end }: Pick<DerElement, "start" | "end">,
  ) {
    this.#at = start;
    this.#limit = end;
  }

  get nextTag(): number | undefined {
    return this.#at < this.#limit ? this.der[this.#at] : undefined;
  }

  /** @returns where its content is, and where the whole of it begins */
  take(tag: number): DerElement & { from: number } {
    const from = this.#at;
    const found = derElement(this.der, from, this.#limit, tag);
    this.#at = found.end;
    return { ...found, from };
  }

  takeEmpty(tag: number): void {
    const { start, end } = this.take(tag);
    if (start !== end) throw new Error("an element is not empty");
  }

  takeId(id: string): void {
    const { start, end } = this.take(OBJECT_ID);
    if (hexEncode(this.der.subarray(start, end)) !== id) throw new Error("another kind of content");
  }

  end(): void {
    if (this.#at !== this.#limit) throw new Error("more than belongs there");
  }
}
