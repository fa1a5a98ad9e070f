/**
 * The public face of `hawser/presets`: what hosted brokers take. Apart from `hawser`, so that a firmware without a preset carries none.
 * @module hawser/presets
 */
export { awsIotCore } from "./aws-iot-core.js";
export { azureDps, azureEventGrid, azureIotHub } from "./azure.js";
export { emqxServerless, hiveMqCloud, homeAssistant, thingsBoard } from "./password-brokers.js";
export { brokerPreset, type BrokerLimits, type BrokerPreset, type ConfiguredDevice, type Wanted } from "./broker-preset.js";
export { HawserError } from "../errors.js";
export type { ErrorCode, RefusalCode, SdkErrorCode, ToolErrorCode } from "../error-codes.js";
export type { FailureClass, FailureCode } from "../failure.js";
