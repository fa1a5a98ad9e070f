/** Whether the log that a configuration asks for can be believed, and what it leaves out. */
import { HawserError } from "../../sdk/errors.js";
import { forgeableLogTypes } from "../doctor/mosquitto/check-operation.js";
import { readConf } from "../doctor/mosquitto/conf-reader.js";
import { buildModel } from "../doctor/mosquitto/model-builder.js";
import { installedMosquittoVersion, MosquittoVersion, OLDEST_TRIED } from "../doctor/mosquitto/version.js";

/**
 * @returns what this log does not say, a sentence each
 * @throws HawserError `LOG_FORGEABLE` when clients can write into it; the file system's error
 */
export function checkLogTypes(config: string): readonly string[] {
  const model = buildModel(readConf(config), MosquittoVersion.parse(installedMosquittoVersion() ?? OLDEST_TRIED));
  const forgeable = forgeableLogTypes(model)[0];
  if (forgeable !== undefined) {
    const { file, line, text } = forgeable.place;
    const next =
      "Log error, warning, notice, information and, for denied publishes, debug; then restart mosquitto. See: hawser doctor --explain HW012";
    throw new HawserError("LOG_FORGEABLE", `clients can write lines into this broker's log: ${file}:${line}: ${text.trim()}`, next);
  }
  const types = new Set(model.logTypes.map(({ words }) => words[0] ?? ""));
  const notes: string[] = [];
  if (!types.has("debug")) notes.push("Denied publishes are not in this log: mosquitto writes them with log_type debug.");
  if (types.size > 0 && !types.has("notice"))
    notes.push("Connections and refusals are not in this log: mosquitto writes them with log_type notice.");
  return notes;
}
