import { describe, expect, it } from "vitest";
import { HawserError } from "../../../sdk/errors.js";
import { CommandLine, errorText } from "./arguments.js";

const line = new CommandLine("npm run tool");
const OPTIONS = { rounds: { type: "string" }, quick: { type: "boolean" } } as const;

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return errorText(error);
  }
  throw new Error("not refused");
}

describe("a tool's command line", () => {
  it.each([
    [["--bogus"], "Unknown option '--bogus'."],
    [["--rounds"], "Option '--rounds <value>' argument missing."],
    [["--quick=3"], "Option '--quick' does not take an argument."],
    [["more"], "Unexpected argument 'more'. This command does not take positional arguments."],
    [
      ["--rounds", "-1"],
      "Option '--rounds' argument is ambiguous. Did you forget to specify the option argument for '--rounds'? To specify an option argument starting with a dash use '--rounds=-XYZ'.",
    ],
  ])("refuses %j in one line", (args, what) => {
    expect(refusal(() => line.parse({ args, options: OPTIONS }))).toBe(`error BAD_ARGUMENT: ${what} Next: Run: npm run tool -- --help.\n`);
  });

  it("gives no advice about a second -- where words are allowed", () => {
    expect(refusal(() => line.parse({ args: ["--bogus"], options: OPTIONS, allowPositionals: true }))).toBe(
      "error BAD_ARGUMENT: Unknown option '--bogus'. Next: Run: npm run tool -- --help.\n",
    );
  });

  it("takes numbers as people write them, to both ends of what is allowed", () => {
    const range = { lowest: 1, highest: 10_000 };
    expect(["1", "10,000", "1_000", "1e3"].map((text) => line.wholeNumber("--n", text, range))).toEqual([1, 10_000, 1_000, 1_000]);
    expect(line.number("--n", "1.5", range)).toBe(1.5);
  });

  it.each(["", " ", "x", "0", "10001", "1e9", "1.5", "NaN", "Infinity"])(
    "refuses %j as a whole number from 1 to 10,000, and says so",
    (text) => {
      expect(refusal(() => line.wholeNumber("--n", text, { lowest: 1, highest: 10_000 }))).toBe(
        `error BAD_ARGUMENT: --n wants a whole number from 1 to 10,000, not ${JSON.stringify(text)}. Next: Run: npm run tool -- --help.\n`,
      );
    },
  );

  it("keeps the stack of what is no typed error, and leaves out a next step that there is not", () => {
    expect(errorText(new TypeError("a defect"))).toMatch(/^TypeError: a defect\n +at /);
    expect(errorText(new HawserError("PORT_IN_USE", "taken"))).toBe("error PORT_IN_USE: taken.\n");
  });
});
