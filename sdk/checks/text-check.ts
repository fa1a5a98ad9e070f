/**
 * Text that brokers may treat as malformed and end the connection for (MQTT 5.0, section 1.5.4): control characters, non-characters, lone
 * surrogates. It is refused before it is sent.
 */

const CONTROL = String.raw`[\0-\x1f\x7f-\x9f]`;
/** The first halves of U+1FFFE, U+1FFFF, and so on up to U+10FFFF. */
const LAST_OF_PLANE = String.raw`[\ud83f\ud87f\ud8bf\ud8ff\ud93f\ud97f\ud9bf\ud9ff\uda3f\uda7f\udabf\udaff\udb3f\udb7f\udbbf\udbff]`;
const NON_CHARACTER = String.raw`[\ufdd0-\ufdef\ufffe\uffff]|${LAST_OF_PLANE}[\udffe\udfff]`;
const LONE_SURROGATE = String.raw`[\ud800-\udbff](?![\udc00-\udfff])|(?:^|[^\ud800-\udbff])[\udc00-\udfff]`;
const UNFIT = new RegExp(`${CONTROL}|${NON_CHARACTER}|${LONE_SURROGATE}`);

/** What is wrong with a text; undefined: nothing. */
export function unfitText(text: string): string | undefined {
  const found = UNFIT.exec(text)?.[0];
  if (found === undefined) return undefined;
  const unit = found.charCodeAt(0);
  if (unit < 0x20 || (unit >= 0x7f && unit <= 0x9f))
    return `contains the control character U+${unit.toString(16).toUpperCase().padStart(4, "0")}`;
  return "contains a Unicode non-character or half a surrogate pair";
}
