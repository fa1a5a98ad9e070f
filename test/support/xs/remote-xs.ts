/** The test's half of `remote-program.ts`: the dialer and the key store of a program on XS, as if they were here. Test material. */
import { HawserError } from "../../../sdk/errors.js";
import type { Failure } from "../../../sdk/failure.js";
import type { Credential, Dialer, LinkHandlers, LinkInfo } from "../../../sdk/platform.js";
import type { HeapFigures } from "../../../sim/xs/host-natives.js";
import type { XsProcess } from "../../../sim/xs/xs-run.js";
import type { RemoteDialerOptions } from "./remote-program.js";

interface LinkEvent {
  link?: number;
  event?: "opened" | "data" | "drain" | "ended";
  info?: LinkInfo;
  bytes?: string;
  failure?: Failure;
}

export class RemoteXs {
  readonly #process: XsProcess;
  readonly #links = new Map<number, LinkHandlers>();
  #lastId = 0;

  constructor(process: XsProcess) {
    this.#process = process;
    void this.#follow();
  }

  /** The XS program's own dialer; one for each set of options. */
  dialer(options: RemoteDialerOptions = {}): Dialer {
    return {
      dial: (endpoint, credential, timeoutMs, handlers) => {
        const link = this.#send("dial", {
          endpoint: JSON.stringify(endpoint),
          credential: credentialText(credential),
          timeoutMs,
          options: JSON.stringify(options),
        });
        this.#links.set(link, handlers);
        return {
          write: (bytes) => {
            this.#send("write", { link, bytes: hex(bytes) });
            return true;
          },
          close: (mayReturn = false) => void this.#send("close", { link, mayReturn: String(mayReturn) }),
        };
      },
    };
  }

  generate = (slot: string): Promise<void> => this.#call("generate", { slot });
  csr = async (slot: string, commonName: string): Promise<Uint8Array> => unhex(await this.#call("csr", { slot, commonName }));
  sign = async (slot: string, bytes: Uint8Array): Promise<Uint8Array> => unhex(await this.#call("sign", { slot, bytes: hex(bytes) }));
  publicKey = async (slot: string): Promise<Uint8Array> => unhex(await this.#call("publicKey", { slot }));
  mac = async (slot: string, bytes: Uint8Array): Promise<Uint8Array> => unhex(await this.#call("mac", { slot, bytes: hex(bytes) }));
  importPsk = (slot: string, bytes: Uint8Array): Promise<void> => this.#call("importPsk", { slot, bytes: hex(bytes) });
  destroy = (slot: string): Promise<void> => this.#call("destroy", { slot });
  has = (slot: string): Promise<boolean> => this.#call("has", { slot });
  /** Empty where there is none. */
  record = async (key: string): Promise<Uint8Array> => unhex(await this.#call("record", { key }));
  putRecord = (key: string, bytes: Uint8Array): Promise<void> => this.#call("putRecord", { key, bytes: hex(bytes) });
  /** Garbage is collected before. */
  heap = (): Promise<HeapFigures> => this.#call("heap", {});
  /** Moves the time by which server certificates are judged. */
  setClock = (offsetMs: number): Promise<void> => this.#call("setClock", { offsetMs });

  /** Ends the program; resolves with its exit code and what it said on standard error. */
  async end(): Promise<{ code: number | undefined; errors: string }> {
    this.#process.endInput();
    return this.#process.exited;
  }

  #send(what: string, parameters: object): number {
    const id = ++this.#lastId;
    this.#process.send({ id, do: what, ...parameters });
    return id;
  }

  async #call<Result>(what: string, parameters: object): Promise<Result> {
    const id = this.#send(what, parameters);
    const answer = await this.#process.message((message) => message["answer"] === id);
    const error = answer["error"] as { code: string; message: string } | undefined;
    if (error) throw new HawserError(error.code as never, error.message);
    return answer["result"] as Result;
  }

  async #follow(): Promise<void> {
    for (let next = 0; ; next++) {
      try {
        await this.#process.message(() => true, next);
      } catch {
        return;
      }
      this.#report(this.#process.messages[next] as LinkEvent);
    }
  }

  #report({ link = 0, event, info, bytes, failure }: LinkEvent): void {
    const handlers = this.#links.get(link);
    if (event === "opened" && info) handlers?.opened(info);
    if (event === "data" && bytes !== undefined) handlers?.data(unhex(bytes));
    if (event === "drain") handlers?.drain();
    if (event === "ended" && failure) {
      this.#links.delete(link);
      handlers?.ended(failure);
    }
  }
}

function credentialText(credential: Credential): string {
  return JSON.stringify(
    credential.kind === "mtls"
      ? { ...credential, chain: credential.chain.map(hex), trustAnchors: credential.trustAnchors.map(hex) }
      : credential,
  );
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function unhex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}
