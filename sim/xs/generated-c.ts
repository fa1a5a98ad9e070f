/**
 * What Moddable's build tools derive from C sources: the ids behind `xsID_name` (`mc.xs.h`), and the tables through which
 * `native("xs_...")` and `Native("xs_...")` find C functions.
 */

export interface GeneratedC {
  /** `mc.xs.h`: one macro an id. */
  idsHeader: string;
  /** The array of ids and the function that fills it when a machine is made. */
  idsSource: string;
  /** The tables of functions and destructors. */
  nativesSource: string;
}

const ID = /\bxsID_(\w+)/g;
const FUNCTION = /^void\s+(xs_\w+)\s*\(\s*(?:xsMachine|txMachine)\s*\*\s*the\s*\)\s*\{?$/gm;
const DESTRUCTOR = /^void\s+(xs_\w+)\s*\(\s*void\s*\*\s*\w+\s*\)\s*\{?$/gm;

/** @param sources the text of every C file that is linked into the host */
export function generateC(sources: readonly string[]): GeneratedC {
  const ids = collect(sources, ID);
  const functions = collect(sources, FUNCTION);
  const destructors = collect(sources, DESTRUCTOR);
  return {
    idsHeader: [
      "#ifndef MC_XS_H",
      "#define MC_XS_H",
      "extern xsIdentifier gx_ids[];",
      ...ids.map((name, index) => `#define xsID_${name} (gx_ids[${index}])`),
      "#endif",
      "",
    ].join("\n"),
    idsSource: [
      '#include "xsmc.h"',
      '#include "mc.xs.h"',
      '#include "host.h"',
      `xsIdentifier gx_ids[${ids.length + 1}];`,
      `static const char* const k_names[] = { ${[...ids.map((name) => `"${name}"`), "NULL"].join(", ")} };`,
      "void host_intern_ids(xsMachine* the)",
      "{",
      "\tfor (int index = 0; k_names[index]; index++)",
      "\t\tgx_ids[index] = fxID(the, k_names[index]);",
      "}",
      "",
    ].join("\n"),
    nativesSource: [
      "#include <stddef.h>",
      '#include "natives.h"',
      ...functions.map((name) => `extern void ${name}(struct xsMachineRecord* the);`),
      ...destructors.map((name) => `extern void ${name}(void* data);`),
      "const host_native_function gx_native_functions[] = {",
      ...functions.map((name) => `\t{ "${name}", ${name} },`),
      "\t{ NULL, NULL },",
      "};",
      "const host_native_destructor gx_native_destructors[] = {",
      ...destructors.map((name) => `\t{ "${name}", ${name} },`),
      "\t{ NULL, NULL },",
      "};",
      "",
    ].join("\n"),
  };
}

function collect(sources: readonly string[], pattern: RegExp): string[] {
  const names = new Set<string>();
  for (const source of sources) {
    for (const match of source.matchAll(pattern)) names.add(match[1] ?? "");
  }
  return [...names].sort();
}
