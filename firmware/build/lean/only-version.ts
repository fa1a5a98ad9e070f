/** In a build that speaks one version of MQTT, in place of `sdk/supervisor/version-choice.ts`: nothing is left to choose. */
import type { VersionChoice as Choice } from "../../../sdk/supervisor/version-choice.js";

/** Put in by the bundler. */
declare const HAWSER_ONLY_VERSION: 4 | 5;

export class VersionChoice implements Pick<Choice, keyof Choice> {
  get version(): 4 | 5 {
    return HAWSER_ONLY_VERSION;
  }

  accepted(): boolean {
    return false;
  }

  failed(): boolean {
    return false;
  }
}
