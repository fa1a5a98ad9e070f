/** How commands reach EMQX's REST API. */
import { EmqxApi } from "../brokers/emqx/emqx-api.js";
import { managementLogin } from "./management-login.js";

export interface EmqxLogin {
  emqx?: string;
  emqxKey?: string;
  emqxCa?: string;
}

const USUAL_PORT = 18083;

/** Throws as `managementLogin`. */
export function emqxApi({ emqx = "", emqxKey = "", emqxCa }: EmqxLogin): EmqxApi {
  const next = 'Give a file like {"username":"API KEY","password":"SECRET"}, of an API key with the role administrator.';
  return new EmqxApi(managementLogin(emqx, emqxKey, { caFile: emqxCa, next, usualPort: USUAL_PORT }));
}
