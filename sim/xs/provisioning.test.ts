/** What a hostile station may send to a device on XS: the machine lives, whatever is in a request of any size the agent takes. */
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { MAX_REQUEST_BYTES } from "../../sdk/provisioning/parts.js";
import { bundleDevice } from "../../firmware/build/xs-bundle.js";
import { packageRoot } from "../../firmware/build/project-files.js";
import { ProgramFolder } from "../../test/support/xs/program-folder.js";
import { no32Bits } from "../../test/support/xs/pointer-sizes.js";

const programs = new ProgramFolder();
afterAll(() => programs.close());

/** 96 KiB, as manifest.json gives a device. */
const HEAP = { chunkBytes: 40_960, slotCount: 2_816, stackSlots: 768 };

const HEAD = `{"v":1,"requestId":"0123456789abcdef0123456789abcdef","type":"status","x":`;

it.skipIf(no32Bits).each([
  ["is all opening brackets", "[", ""],
  ["is nested as deep as it is long", `{"a":`, ""],
  ["holds as many numbers as it can", "0,", "["],
  ["holds as many objects as it can", "{},", "["],
])(
  "a request that %s is refused, and the next one is read",
  async (_what, unit, opening) => {
    const library = await bundleDevice({
      entry: join(packageRoot(), "sdk", "provisioning", "messages.ts"),
      outputFile: join(programs.path, "messages.mjs"),
    });
    const source = `
    import { readRequest } from "messages";
    const request = (size, text, unit) => {
      const bytes = new Uint8Array(size);
      for (let i = 0; i < size; i++) bytes[i] = (i < text.length ? text.charCodeAt(i) : unit.charCodeAt((i - text.length) % unit.length));
      return bytes;
    };
    const read = (bytes) => { try { return readRequest(bytes).type; } catch (error) { return error.code; } };
    print([read(request(${MAX_REQUEST_BYTES}, ${JSON.stringify(HEAD + opening)}, ${JSON.stringify(unit)})), read(request(${HEAD.length + 2}, ${JSON.stringify(`${HEAD}0}`)}, " "))]);`;
    const { code, printed, errors } = await programs.run(source, {
      bits: 32,
      inRom: "code",
      heap: HEAP,
      modules: { messages: library.file },
      preload: ["messages"],
    });
    expect({ code, errors, printed }).toEqual({ code: 0, errors: "", printed: [["BAD_REQUEST", "status"]] });
  },
  600_000,
);
