/** Gets, keeps and renews API access tokens. */
export { Client, type TokenOptions } from "./client.js";
export type { Notice, StoreCommand, Verdict } from "./core.js";
export type { OnRotated } from "./driver.js";
export { RemintError, ServerError, TransportError, UsageError } from "./errors.js";
export type { ClientOptions, Clock, Http, HttpAnswer, HttpInit, Store } from "./options.js";
export type { Algorithm, PrivateKey, RemoteKey } from "./signing.js";
export { Token } from "./token.js";
