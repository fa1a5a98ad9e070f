/** Makes another issuing CA, or retires the one before. */
import type { RootRollover } from "../../ca/root-rollover.js";
import type { Rollover, RolloverOptions } from "../../ca/rollover.js";
import type { Context } from "../command-runner.js";
import { day, isoTime } from "../dates.js";
import { openCaOf } from "../opened-ca.js";
import type { PassphraseOptions } from "../passphrases.js";
import { checkSigner, FILE_SIGNER, tokenKeyMaker } from "../policy/token-keys.js";

export interface CaRolloverOptions extends PassphraseOptions {
  dir: string;
  root?: boolean;
  rootSigner?: string;
  retire?: boolean;
  force?: boolean;
  signer?: string;
  existingKey?: boolean;
  json?: boolean;
}

export async function rollOver(options: CaRolloverOptions, context: Context): Promise<void> {
  checkSigner(options.signer);
  checkSigner(options.rootSigner);
  const ca = await openCaOf(options, context);
  if (options.retire === true) {
    const { leftBehind } = await ca.retirePrevious(options.force === true);
    const left = leftBehind.length === 0 ? [] : [`Left behind, until they recover or are provisioned again: ${leftBehind.join(", ")}.`];
    context.terminal.result({ retired: true, leftBehind }, [
      "The old issuing CA is retired, and with it the root before, if there was one: brokers believe them no more.",
      ...left,
    ]);
    return;
  }
  const signer =
    options.signer === FILE_SIGNER ? FILE_SIGNER : tokenKeyMaker(options, context)(options.signer, ca.certificatePolicy.issuingKey);
  const request: RolloverOptions = signer === undefined ? {} : { signer };
  const rootSigner = tokenKeyMaker(options, context)(options.rootSigner, ca.certificatePolicy.rootKey);
  const rollover: Rollover & Partial<RootRollover> =
    options.root === true
      ? await ca.rollOverRoot({ ...request, ...(rootSigner === undefined ? {} : { rootSigner }) })
      : await ca.rollOver(request);
  const { name, serial, notAfterMs, brokerSerial, root } = rollover;
  const rootLines =
    root === undefined
      ? []
      : [`The new root is good until ${day(root.notAfterMs)}. The old one vouches for it: who trusts only that goes on.`];
  const rootJson = root === undefined ? {} : { root: root.serial, rootNotAfter: isoTime(root.notAfterMs) };
  context.terminal.result({ issuing: name, serial, notAfter: isoTime(notAfterMs), broker: brokerSerial, ...rootJson }, [
    ...rootLines,
    `${name} issues from now on, until ${day(notAfterMs)}; the broker has a certificate from it.`,
    `Devices move as they renew. See who has not: hawser ca status --dir ${options.dir}. Then: hawser ca rollover --dir ${options.dir} --retire`,
  ]);
}
