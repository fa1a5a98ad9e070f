/**
 * The public face of `hawser/reports`: a device tells what went wrong for it. Apart from `hawser`, so that a firmware that does not report
 * carries none of it.
 * @module hawser/reports
 */
export { reportTrouble, type ReportingDevice, type ReportOptions, type TroubleKind } from "./trouble-reports.js";
export type { Clock } from "../platform.js";
export type { DeviceTopic } from "../device/device.js";
export type { DeviceEvent, Rung } from "../events.js";
export type { FailureClass, FailureCode } from "../failure.js";
