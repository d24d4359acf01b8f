/** Gets, keeps and renews API access tokens. */
export type { ClientCertificate } from "./certificate.js";
export { type Asking, Client, type Signing, type TokenOptions, type Waiting } from "./client.js";
export type { Notice, Verdict } from "./core.js";
export type { OnRotated } from "./driver.js";
export { RemintError, ServerError, TransportError, UsageError } from "./errors.js";
export type { ClientOptions, Clock, Http, HttpAnswer, HttpInit, Provide } from "./options.js";
export type { BackchannelAuthentication, DeviceAuthorization } from "./pending.js";
export { RegisteredClient, type RegistrationAccess, type RegistrationOptions, type RegistrationRequest, register } from "./register.js";
export { type Algorithm, type GeneratedKey, type PlainKey, type PrivateKey, type ProofKey, type RemoteKey, generateKey } from "./signing.js";
export { type Conflict, type Held, type Locked, type Saved, type Store, StoreDown, type StoreKey, type Subscription } from "./store.js";
export { Token } from "./token.js";
