import { HawserError } from "../../../sdk/errors.js";
export async function writeBrokerConfiguration(): Promise<void> {
  throw new HawserError("NOT_BUILT", "not built yet");
}
