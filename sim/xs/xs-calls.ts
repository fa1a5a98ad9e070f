/** Calls to a program on XS: each is answered once, in any order, as `device-protocol.ts` and `program-protocol.ts` say. */
import type { ErrorCode } from "../../sdk/error-codes.js";
import { HawserError } from "../../sdk/errors.js";
import type { XsMessage } from "./xs-run.js";

/** Command name to [parameters, result]. */
type CommandTable<Commands> = { [Name in keyof Commands]: [object, unknown] };

export type Answer =
  { answer: number; result: unknown } | { answer: number; error: { code: ErrorCode; message: string; nextStep: string } };

interface Call {
  resolve: (result: never) => void;
  reject: (error: unknown) => void;
}

export class XsCalls<Commands extends CommandTable<Commands>> {
  readonly #open = new Map<number, Call>();
  #last = 0;
  #ended: Error | undefined;

  constructor(private readonly send: (message: XsMessage) => void) {}

  /** @throws HawserError the program's own, or that it has ended */
  call<Name extends keyof Commands & string>(name: Name, parameters: Commands[Name][0]): Promise<Commands[Name][1]> {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const call = ++this.#last;
      this.#open.set(call, { resolve, reject });
      this.send({ call, do: name, with: parameters });
    });
  }

  answered(output: Answer): void {
    const call = this.#open.get(output.answer);
    this.#open.delete(output.answer);
    if ("error" in output) call?.reject(new HawserError(output.error.code, output.error.message, output.error.nextStep));
    else call?.resolve(output.result as never);
  }

  /** Nothing is answered any more: what is open is rejected, and so is every later call. */
  end(error: Error): void {
    this.#ended = error;
    for (const call of this.#open.values()) call.reject(error);
    this.#open.clear();
  }
}
