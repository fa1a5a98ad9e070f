import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { bundleDevice, shareMethods } from "./xs-bundle.js";

it("makes private methods ordinary ones, each class's under names of its own, and leaves fields and text alone", () => {
  const source = `
export class One {
  #count = 0;
  go(): void {
    if (!this.#isLate()) this.#step("#step");
  }
  #isLate(): boolean {
    return this.#count > 0;
  }
  async #step<T>(topic: T): Promise<void> {
    await other.#step("down/#");
  }
}
class Two extends One {
  #step = 1;
  get #late(): number {
    return this.#step + (this.#late);
  }
}
`;
  expect(shareMethods(source, "sdk_one_ts")).toBe(`
export class One {
  #count = 0;
  go(): void {
    if (!this._$isLate_sdk_one_ts_1()) this._$step_sdk_one_ts_1("#step");
  }
  _$isLate_sdk_one_ts_1(): boolean {
    return this.#count > 0;
  }
  async _$step_sdk_one_ts_1<T>(topic: T): Promise<void> {
    await other._$step_sdk_one_ts_1("down/#");
  }
}
class Two extends One {
  #step = 1;
  get _$late_sdk_one_ts_2(): number {
    return this.#step + (this._$late_sdk_one_ts_2);
  }
}
`);
});

it("keeps parameters of a constructor under names that can be shortened, where nobody else can read them", () => {
  const source = `
export class Three {
  #last = 0;
  constructor(
    readonly seen: string,
    private readonly clock: Clock,
    private readonly options: Options,
    private policy = DEFAULT,
  ) {
    this.#last = clock.now();
  }
  go(): number {
    const { options } = this;
    return this.clock.now() + this.policy.of(this.seen, options, () => this.clock, other.clock);
  }
}
class Four extends Three {
  constructor(private readonly clock: Clock) {
    super(clock);
  }
}
`;
  expect(shareMethods(source, "a_ts")).toBe(`
export class Three {
  #last = 0;
  constructor(
    readonly seen: string,
    clock: Clock,
    private readonly options: Options,
    policy = DEFAULT,
  ) { this._$clock_a_ts_1 = clock; this._$policy_a_ts_1 = policy;
    this.#last = clock.now();
  }
  go(): number {
    const { options } = this;
    return this._$clock_a_ts_1.now() + this._$policy_a_ts_1.of(this.seen, options, () => this._$clock_a_ts_1, other.clock);
  }
}
class Four extends Three {
  constructor(private readonly clock: Clock) {
    super(clock);
  }
}
`);
});

it("keeps every name of a property that a program may publish", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hawser-bundle-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const names = ["following", "recoverable", "strikes", "suspects", "takeBack", "_private", "$each"];
  const entry = join(folder, "main.ts");
  writeFileSync(
    entry,
    `const own: Record<string, number> = {};\n${names.map((name, at) => `own.${name} = ${at};`).join("\n")}\nprint(own);\n`,
  );

  const { file } = await bundleDevice({ entry, outputFile: join(folder, "main.js") });

  const printed: unknown[] = [];
  new Function("print", readFileSync(file, "utf8"))((own: object) => printed.push(own));
  expect(printed.map((own) => Object.keys(own as object))).toEqual([names]);
});
