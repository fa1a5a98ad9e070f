/** Where everything stands on a label, in dots of the printer: the same for every form, so that a QR code's modules are whole dots. */
import encodeQR from "qr";
import { badLabel } from "./payloads.js";

export interface LabelRequest {
  /** What the QR code says: printable ASCII. */
  readonly payload: string;
  /** For people, beside the code: printable ASCII. */
  readonly lines: readonly string[];
  readonly widthMm?: number;
  readonly heightMm?: number;
  /** 203, 300 or 600 dots an inch. */
  readonly dpi?: number;
}

export interface TextLine {
  readonly text: string;
  readonly x: number;
  /** Of its top. */
  readonly y: number;
}

export interface LabelLayout {
  readonly payload: string;
  readonly width: number;
  readonly height: number;
  readonly widthMm: number;
  readonly heightMm: number;
  readonly dpi: number;
  /** Rows of the code without its quiet zone; true is dark. */
  readonly modules: readonly (readonly boolean[])[];
  /** Dots a module. */
  readonly moduleDots: number;
  /** Of the code's first module. */
  readonly codeX: number;
  readonly codeY: number;
  readonly lines: readonly TextLine[];
  /** Of a character's cell: 6 to 8, as in the bitmap font. */
  readonly charWidth: number;
  readonly charHeight: number;
}

/** Modules left free around a code (ISO/IEC 18004). */
const QUIET_MODULES = 4;
/** Smaller ones are not read reliably by hand scanners. */
const LEAST_MODULE_MM = 0.33;
const LEAST_CHAR_MM = 1.4;
const MOST_CHAR_MM = 4;
const MARGIN_MM = 1;

/**
 * @throws HawserError `BAD_LABEL`: a character that is a printer's command or not ASCII, a payload that is too long for the label, a label
 *   without room
 */
export function layOut({ payload, lines, widthMm = 50, heightMm = 25, dpi = 300 }: LabelRequest): LabelLayout {
  for (const text of [payload, ...lines]) checkPrintable(text);
  if (payload === "") throw badLabel("the QR code would be empty", "Give a payload.");
  if (![203, 300, 600].includes(dpi)) throw badLabel(`a printer of ${dpi} dots an inch is not known`, "Use 203, 300 or 600.");
  if (!(widthMm >= 10 && widthMm <= 200 && heightMm >= 10 && heightMm <= 200))
    throw badLabel(`a label of ${widthMm} x ${heightMm} mm cannot be printed`, "Use 10 to 200 mm.");
  const dots = (mm: number): number => Math.round((mm * dpi) / 25.4);
  const modules = codeOf(payload);
  const count = modules.length + 2 * QUIET_MODULES;
  const side = dots(Math.min(heightMm, widthMm));
  const moduleDots = Math.floor(side / count);
  if ((moduleDots * 25.4) / dpi < LEAST_MODULE_MM) {
    throw badLabel(
      `a code of ${modules.length} modules on ${Math.min(heightMm, widthMm)} mm has modules of ${((moduleDots * 25.4) / dpi).toFixed(2)} mm`,
      "Use a larger label or a shorter payload.",
    );
  }
  const [width, height] = [dots(widthMm), dots(heightMm)];
  const codeY = Math.floor((height - moduleDots * modules.length) / 2);
  const codeX = QUIET_MODULES * moduleDots;
  const textX = moduleDots * count;
  const text = fitText(lines, width - textX - dots(MARGIN_MM), height - 2 * dots(MARGIN_MM), dots(LEAST_CHAR_MM), dots(MOST_CHAR_MM));
  const top = Math.floor((height - text.lines.length * text.charHeight) / 2);
  return {
    payload,
    width,
    height,
    widthMm,
    heightMm,
    dpi,
    modules,
    moduleDots,
    codeX,
    codeY,
    lines: text.lines.map((line, index) => ({ text: line, x: textX, y: top + index * text.charHeight })),
    charWidth: text.charWidth,
    charHeight: text.charHeight,
  };
}

function codeOf(payload: string): boolean[][] {
  const encoding = /^\d+$/.test(payload) ? "numeric" : /^[0-9A-Z $%*+\-./:]+$/.test(payload) ? "alphanumeric" : "byte";
  try {
    // The library gives at least one module of border, which belongs to our quiet zone.
    return encodeQR(payload, "raw", { ecc: "medium", border: 1, encoding })
      .slice(1, -1)
      .map((row) => row.slice(1, -1));
  } catch {
    throw badLabel(`${payload.length} characters do not fit into a QR code`, "Shorten the payload.");
  }
}

/** The largest characters with which all lines fit, broken where they are too long. */
function fitText(
  lines: readonly string[],
  width: number,
  height: number,
  least: number,
  most: number,
): { lines: string[]; charWidth: number; charHeight: number } {
  for (let scale = Math.floor(most / 8); scale * 8 >= least; scale--) {
    const [charWidth, charHeight] = [scale * 6, scale * 8];
    const room = Math.floor(width / charWidth);
    if (room < 1) continue;
    const broken = lines.flatMap((line) => line.match(new RegExp(`.{1,${room}}`, "g")) ?? []);
    // One word in two lines is hard to read: larger characters are not worth it.
    const isWhole = broken.length === lines.length || (scale - 1) * 8 < least;
    if (isWhole && broken.length * charHeight <= height) return { lines: broken, charWidth, charHeight };
  }
  throw badLabel("the text does not fit beside the code", "Use a wider label or fewer lines.");
}

/**
 * `^` and `~` begin the commands of ZPL, and control characters those of other printers: data that holds them could print, store or
 * configure anything.
 * @throws HawserError `BAD_LABEL`
 */
export function checkPrintable(text: string): void {
  const found = /[^\x20-\x7d]|\^/.exec(text);
  if (found === null) return;
  const [character] = found;
  const name = /[\x21-\x7e]/.test(character)
    ? JSON.stringify(character)
    : `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
  throw badLabel(
    `the label's text has ${name} as character ${found.index + 1}, which may be a command to a printer`,
    "Use printable ASCII without ^ and ~.",
  );
}
