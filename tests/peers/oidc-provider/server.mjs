// npm oidc-provider, configured for the tests. It listens on a free loopback port, prints one line of JSON that says where everything is, and ends when its
// standard input does.

import { once } from "node:events";
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const REDIRECT_URI = "https://app.example/callback";

const { clients } = JSON.parse(process.argv[2]);

const server = createServer();
server.listen(0, "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;

// Its warnings are about HTTP and the forms for developers: both are what is wanted here.
console.warn = () => {};
console.info = () => {};

const provider = new Provider(issuer, {
  clients: Object.entries(clients).map(([client_id, { secret, method }]) => ({
    client_id,
    client_secret: secret ?? undefined,
    token_endpoint_auth_method: method,
    grant_types: ["authorization_code", "refresh_token", ...(secret === null ? [] : ["client_credentials"])],
    redirect_uris: [REDIRECT_URI],
    response_types: ["code"],
  })),
  scopes: ["openid", "offline_access", "read"],
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "none"],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  pkce: { required: () => true },
  ttl: { AccessToken: 3600, ClientCredentials: 600, RefreshToken: 86_400, Grant: 86_400, Interaction: 600, Session: 86_400 },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  cookies: { keys: ["only for the tests"] },
  renderError: (ctx, out) => {
    ctx.type = "json";
    ctx.body = out;
  },
});

let tokenRequests = 0;
let apiRequests = 0;

provider.use(async (ctx, next) => {
  if (ctx.path === "/token") tokenRequests += 1;
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
process.stdin.resume().on("end", () => process.exit());

console.log(
  JSON.stringify({
    issuer,
    token_endpoint: `${issuer}/token`,
    authorization_endpoint: `${issuer}/auth`,
    revocation_endpoint: `${issuer}/token/revocation`,
    introspection_endpoint: `${issuer}/token/introspection`,
    userinfo_endpoint: `${issuer}/me`,
    api: `${issuer}/peers/api`,
    forget: `${issuer}/peers/forget`,
    counts: `${issuer}/peers/counts`,
    redirect_uri: REDIRECT_URI,
  }),
);
