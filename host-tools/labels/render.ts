/** A label as SVG, PNG, PDF or ZPL. */
import { crc32, deflateSync } from "node:zlib";
import { dotOf } from "./font.js";
import type { LabelLayout } from "./layout.js";
import { checkPrintable } from "./layout.js";

export const LABEL_FORMS = ["svg", "png", "pdf", "zpl"] as const;
export type LabelForm = (typeof LABEL_FORMS)[number];

export function renderLabel(layout: LabelLayout, form: LabelForm): Buffer {
  return { svg: toSvg, png: toPng, pdf: toPdf, zpl: toZpl }[form](layout);
}

/** Horizontal runs of dark modules: x, y and length in modules. */
function runs({ modules }: LabelLayout): [number, number, number][] {
  const found: [number, number, number][] = [];
  modules.forEach((row, y) => {
    for (let x = 0; x < row.length;) {
      let end = x;
      while (row[end] === true) end++;
      if (end > x) found.push([x, y, end - x]);
      x = Math.max(end, x + 1);
    }
  });
  return found;
}

function toSvg(layout: LabelLayout): Buffer {
  const { width, height, widthMm, heightMm, codeX, codeY, moduleDots, lines, charWidth, charHeight } = layout;
  const path = runs(layout)
    .map(
      ([x, y, length]) =>
        `M${codeX + x * moduleDots} ${codeY + y * moduleDots}h${length * moduleDots}v${moduleDots}h-${length * moduleDots}z`,
    )
    .join("");
  const texts = lines.map(
    ({ text, x, y }) =>
      `<text x="${x}" y="${y + Math.round(charHeight * 0.8)}" font-family="monospace" font-size="${charHeight}" textLength="${text.length * charWidth}" lengthAdjust="spacingAndGlyphs" xml:space="preserve">${escapeXml(text)}</text>`,
  );
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${widthMm}mm" height="${heightMm}mm" viewBox="0 0 ${width} ${height}">` +
      `<rect width="${width}" height="${height}" fill="#fff"/><path d="${path}" shape-rendering="crispEdges"/>${texts.join("")}</svg>\n`,
  );
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** One bit a dot (PNG specification, third edition: greyscale of depth 1). */
function toPng(layout: LabelLayout): Buffer {
  const { width, height, dpi } = layout;
  const stride = 1 + Math.ceil(width / 8);
  const rows = Buffer.alloc(stride * height, 0xff);
  for (let y = 0; y < height; y++) rows[y * stride] = 0;
  const black = (x: number, y: number): void => {
    if (x >= width || y >= height) return;
    const at = y * stride + 1 + (x >> 3);
    rows[at] = (rows[at] ?? 0) & ~(0x80 >> (x & 7));
  };
  const square = (x: number, y: number, sizeX: number, sizeY: number): void => {
    for (let dy = 0; dy < sizeY; dy++) for (let dx = 0; dx < sizeX; dx++) black(x + dx, y + dy);
  };
  const { codeX, codeY, moduleDots, charWidth, charHeight } = layout;
  for (const [x, y, length] of runs(layout)) square(codeX + x * moduleDots, codeY + y * moduleDots, length * moduleDots, moduleDots);
  for (const line of layout.lines) {
    [...line.text].forEach((character, index) => {
      for (let column = 0; column < 6; column++) {
        for (let row = 0; row < 8; row++) {
          if (dotOf(character, column, row))
            square(line.x + index * charWidth + (column * charWidth) / 6, line.y + (row * charHeight) / 8, charWidth / 6, charHeight / 8);
        }
      }
    });
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header[8] = 1;
  const density = Buffer.alloc(9);
  const dotsAMetre = Math.round(dpi / 0.0254);
  density.writeUInt32BE(dotsAMetre);
  density.writeUInt32BE(dotsAMetre, 4);
  density[8] = 1;
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("pHYs", density),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const out = Buffer.alloc(8 + body.length);
  out.writeUInt32BE(data.length);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), 4 + body.length);
  return out;
}

/**
 * A page of the label's size; Courier is one of the fonts every reader has (ISO 32000-1, 9.6.2.2), and each of its characters is 0.6 wide.
 */
function toPdf(layout: LabelLayout): Buffer {
  const { height, widthMm, heightMm, codeX, codeY, moduleDots, lines, charWidth, charHeight } = layout;
  const points = (mm: number): string => ((mm * 72) / 25.4).toFixed(3);
  const scale = 72 / layout.dpi;
  const boxes = runs(layout).map(
    ([x, y, length]) => `${codeX + x * moduleDots} ${height - codeY - (y + 1) * moduleDots} ${length * moduleDots} ${moduleDots} re`,
  );
  const size = charWidth / 0.6;
  const texts = lines.map(
    ({ text, x, y }) =>
      `BT /F1 ${size.toFixed(2)} Tf ${x} ${height - y - Math.round(charHeight * 0.8)} Td (${text.replace(/[\\()]/g, String.raw`\$&`)}) Tj ET`,
  );
  const content = [`${scale.toFixed(6)} 0 0 ${scale.toFixed(6)} 0 0 cm`, ...boxes, "f", ...texts].join("\n");
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${points(widthMm)} ${points(heightMm)}] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>`,
    `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
  ];
  let text = "%PDF-1.4\n";
  const offsets: number[] = [];
  objects.forEach((object, index) => {
    offsets.push(text.length);
    text += `${index + 1} 0 obj\n${object}\nendobj\n`;
  });
  const table = [`0000000000 65535 f \n`, ...offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`)].join("");
  text += `xref\n0 ${objects.length + 1}\n${table}trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${text.length}\n%%EOF\n`;
  return Buffer.from(text, "latin1");
}

/** For Zebra's printers and those that speak their language: raw to port 9100, or `lp -o raw`. */
function toZpl(layout: LabelLayout): Buffer {
  const { payload, width, height, codeX, codeY, moduleDots, lines, charWidth, charHeight } = layout;
  // Checked where the layout was made, too: here is where it would become a command.
  for (const text of [payload, ...lines.map((line) => line.text)]) checkPrintable(text);
  const texts = lines.map(({ text, x, y }) => `^FO${x},${y}^A0N,${charHeight},${charWidth}^FD${text}^FS`);
  // The printer adds 10 dots above a code.
  const code = `^FO${codeX},${Math.max(0, codeY - 10)}^BQN,2,${Math.min(10, moduleDots)}^FDMA,${payload}^FS`;
  return Buffer.from(["^XA", "^CI28", `^PW${width}`, `^LL${height}`, "^LH0,0", code, ...texts, "^XZ", ""].join("\n"), "latin1");
}
