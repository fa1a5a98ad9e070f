import { expect, it } from "vitest";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./package-root.mjs";
import { INNER_NAMES, shareMethods } from "./xs-bundle.js";

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

it("shortens no name that is written as text, or read beyond the SDK and the firmware's own parts", () => {
  const sources = (folder: string): string[] =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => /\.ts$/.test(path) && !/\.test\.ts$|^build\//.test(path))
      .map((path) => readFileSync(join(ROOT, folder, path), "utf8"));
  const bundled = [...sources("sdk"), ...sources("firmware")].join("\n");
  const outside = [...sources("firmware/boards"), ...sources("sim/xs"), ...sources("test/support/xs"), ...sources("examples")].join("\n");
  for (const name of INNER_NAMES) {
    expect(bundled).toMatch(new RegExp(`\\b${name}\\b`));
    expect(bundled).not.toMatch(new RegExp(`["'\`]${name}["'\`]`));
    expect(outside).not.toMatch(new RegExp(`\\b${name}\\b`));
  }
});
