// npm oidc-provider, configured for the tests: everything that it has is on. It listens on free loopback ports, prints one line of JSON that says where everything
// is, and ends when its standard input does.

import { X509Certificate, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createLocalJWKSet, jwtVerify } from "jose";
import { Provider, errors } from "oidc-provider";

const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
// What a resource server of its own might be called.
const RESOURCES = ["https://one.api.example/", "https://two.api.example/"];

const { clients, tls, redirect_uri, initial_access_token, user, voucher } = JSON.parse(process.argv[2]);

const server = createServer();
// A certificate is asked for and not insisted on: most clients have none. Whether it is trusted is decided per client.
const tlsServer = createTlsServer({
  cert: readFileSync(tls.certificate),
  key: readFileSync(tls.key),
  ca: readFileSync(tls.trusted),
  requestCert: true,
  rejectUnauthorized: false,
});
await Promise.all([server, tlsServer].map((each) => once(each.listen(0, "127.0.0.1"), "listening")));
const issuer = `http://127.0.0.1:${server.address().port}`;
const tlsUrl = `https://127.0.0.1:${tlsServer.address().port}`;

// Its warnings are about HTTP and the forms for developers: both are what is wanted here.
console.warn = () => {};
console.info = () => {};

const provider = new Provider(issuer, {
  clients: Object.entries(clients).map(metadata),
  scopes: ["openid", "offline_access", "read", "write"],
  clientAuthMethods: [
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
  ],
  enabledJWA: {
    authorizationSigningAlgValues: ["HS256", "RS256"],
    clientAuthSigningAlgValues: ["HS256", "RS256", "PS256", "ES256", "ES384", "Ed25519", "EdDSA"],
  },
  features: {
    ciba: {
      enabled: true,
      processLoginHint: (_, hint) => hint,
      verifyUserCode: () => {},
      validateRequestContext: () => {},
      validateBindingMessage: () => {},
      triggerAuthenticationDevice: approveSoon,
    },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: (ctx) => clients[ctx.oidc.client?.clientId]?.nonce === true || "nonce" in ctx.query },
    fapi: { enabled: true, profile: (_, client) => (client?.clientId === "fapi" ? "2.0" : undefined) },
    introspection: { enabled: true, allowedPolicy: () => true },
    jwtResponseModes: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => certificate(ctx.socket)?.toString(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, _, expected) => certificate(ctx.socket).subject === expected,
    },
    pushedAuthorizationRequests: { enabled: true },
    registration: { enabled: true, initialAccessToken: initial_access_token },
    registrationManagement: { enabled: true },
    requestObjects: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: resource, useGrantedResource: () => true },
    revocation: { enabled: true },
    richAuthorizationRequests: {
      enabled: true,
      types: { payment: { validate: () => {} } },
      authorizationDetailsForGrantSource: (ctx) => JSON.parse(ctx.oidc.params.authorization_details),
      authorizationDetailsForAccessToken: (_, __, source) => source.rar,
      authorizationDetailsForIntrospection: (_, token) => token.rar,
    },
  },
  discovery: { mtls_endpoint_aliases: { token_endpoint: `${tlsUrl}/token`, userinfo_endpoint: `${tlsUrl}/me` } },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  pkce: { required: () => true },
  ttl: {
    AccessToken: 3600,
    BackchannelAuthenticationRequest: 600,
    ClientCredentials: 600,
    DeviceCode: 600,
    Grant: 86_400,
    Interaction: 600,
    RefreshToken: 86_400,
    Session: 86_400,
  },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  cookies: { keys: ["only for the tests"] },
  renderError: (ctx, out) => {
    ctx.type = "json";
    ctx.body = out;
  },
});

/** A client as RFC 7591 describes it. */
function metadata([client_id, { secret, method, alg, grants, jwks, subject, par, dpop, request_object, jarm, details }]) {
  return {
    client_id,
    client_secret: secret ?? undefined,
    token_endpoint_auth_method: method,
    token_endpoint_auth_signing_alg: method.endsWith("_jwt") ? alg : undefined,
    grant_types: grants,
    redirect_uris: grants.includes("authorization_code") ? [redirect_uri] : [],
    response_types: grants.includes("authorization_code") ? ["code"] : [],
    jwks,
    tls_client_auth_subject_dn: subject,
    tls_client_certificate_bound_access_tokens: method.endsWith("tls_client_auth"),
    require_pushed_authorization_requests: par,
    dpop_bound_access_tokens: dpop,
    ...(request_object ? { require_signed_request_object: true, request_object_signing_alg: alg } : {}),
    ...(details ? { authorization_details_types: details } : {}),
    ...(jarm ? { authorization_signed_response_alg: jarm } : {}),
    ...(grants.some((grant) => grant.endsWith("ciba")) ? { backchannel_token_delivery_mode: "poll" } : {}),
  };
}

function certificate(socket) {
  const { raw } = socket.getPeerCertificate?.() ?? {};
  return raw && new X509Certificate(raw);
}

function resource(_, indicator) {
  if (RESOURCES.includes(indicator)) return { scope: "read write", audience: indicator, accessTokenFormat: indicator === RESOURCES[0] ? "jwt" : "opaque" };
  throw new errors.InvalidTarget();
}

/** The person with the telephone says yes a moment later; `refuse` in the message makes them say no. */
async function approveSoon(_, request, account, client) {
  const grant = new provider.Grant({ clientId: client.clientId, accountId: account.accountId });
  grant.addOIDCScope(request.params.scope);
  await grant.save();
  const refuses = request.params.binding_message === "refuse";
  setTimeout(() => provider.backchannelResult(request, refuses ? new errors.AccessDenied() : grant), 1000);
}

// RFC 8693, of which it has no handler of its own: who may exchange what is the deployment's policy.
provider.registerGrantType(
  TOKEN_EXCHANGE,
  async (ctx) => {
    const { client, params } = ctx.oidc;
    if (params.subject_token_type !== ACCESS_TOKEN) throw new errors.InvalidRequest("the subject token's type is not supported");
    const subject = await provider.AccessToken.find(params.subject_token);
    if (!subject?.isValid) throw new errors.InvalidRequest("the subject token is not good");
    const token = new provider.AccessToken({ accountId: subject.accountId, client, grantId: subject.grantId, gty: TOKEN_EXCHANGE, scope: params.scope ?? subject.scope });
    ctx.body = { access_token: await token.save(), issued_token_type: ACCESS_TOKEN, token_type: "Bearer", expires_in: token.expiration, scope: token.scope };
  },
  ["subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type", "scope", "audience", "resource"],
  ["audience", "resource"],
);

// RFC 7523 section 2.1, likewise: the assertion is checked by what the provider checks JWTs with, and is good once.
provider.registerGrantType(
  JWT_BEARER,
  async (ctx) => {
    const { client, params } = ctx.oidc;
    const rules = { issuer: voucher.issuer, audience: issuer, subject: voucher.subject, requiredClaims: ["jti", "exp"], maxTokenAge: 300 };
    const { payload } = await jwtVerify(params.assertion, createLocalJWKSet(voucher.jwks), rules).catch(({ message }) => {
      throw new errors.InvalidGrant(message);
    });
    if (!(await provider.ReplayDetection.unique(payload.iss, payload.jti, payload.exp))) throw new errors.InvalidGrant("the assertion was used already");
    const grant = new provider.Grant({ clientId: client.clientId, accountId: user.name });
    grant.addOIDCScope(params.scope);
    const token = new provider.AccessToken({ accountId: user.name, client, grantId: await grant.save(), gty: JWT_BEARER, scope: params.scope });
    ctx.body = { access_token: await token.save(), token_type: "Bearer", expires_in: token.expiration, scope: token.scope };
  },
  ["assertion", "scope"],
);

provider.on("server_error", (_, error) => console.error(error));

let tokenRequests = 0;
let apiRequests = 0;

provider.use(async (ctx, next) => {
  if (ctx.path === "/token") tokenRequests += 1;
  if (ctx.path === "/me") apiRequests += 1;
  if (ctx.path === "/peers/counts") {
    ctx.body = { token: tokenRequests, api: apiRequests };
    return;
  }
  if (ctx.path === "/peers/api") {
    apiRequests += 1;
    await answer(ctx);
    return;
  }
  if (ctx.path === "/peers/forget") {
    const token = await provider.AccessToken.find((await ctx.req.setEncoding("utf8").toArray()).join(""));
    await token.destroy();
    ctx.status = 204;
    return;
  }
  await next();
});

/** An API: who may come in is the provider's decision. */
async function answer(ctx) {
  const [, value] = /^Bearer (\S+)$/i.exec(ctx.get("authorization")) ?? [];
  const token = value && ((await provider.AccessToken.find(value)) ?? (await provider.ClientCredentials.find(value)));
  if (token?.isValid) {
    ctx.body = { client: token.clientId, subject: token.accountId ?? null };
    return;
  }
  ctx.status = 401;
  ctx.set("www-authenticate", value ? 'Bearer realm="peers", error="invalid_token"' : 'Bearer realm="peers"');
}

server.on("request", provider.callback());
tlsServer.on("request", provider.callback());
process.stdin.resume().on("end", () => process.exit());

console.log(
  JSON.stringify({
    base_url: issuer,
    issuer,
    tls_url: tlsUrl,
    token_endpoint: `${issuer}/token`,
    authorization_endpoint: `${issuer}/auth`,
    revocation_endpoint: `${issuer}/token/revocation`,
    introspection_endpoint: `${issuer}/token/introspection`,
    userinfo_endpoint: `${issuer}/me`,
    api: `${issuer}/peers/api`,
    forget: `${issuer}/peers/forget`,
    counts: `${issuer}/peers/counts`,
  }),
);
