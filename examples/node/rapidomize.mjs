// Rapidomize: a person authorizes the App in a browser; from then on the refresh token does.
import { createInterface } from "node:readline/promises";
import { Client } from "remint";

const { CLIENT_ID, CLIENT_SECRET, TOKEN_ENDPOINT, AUTHORIZATION_ENDPOINT, ISSUER, BASE_URL } = process.env;

const app = new Client("rapidomize", {
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  tokenEndpoint: TOKEN_ENDPOINT,
  authorizationEndpoint: AUTHORIZATION_ENDPOINT,
  issuer: ISSUER,
  authHeader: "x-rpz-auth",
  baseUrl: BASE_URL,
  allowLoopbackHttp: true,
});

const { url, session } = await app.authorizationUrl({ redirectUri: "http://127.0.0.1/callback" });
console.log(`Open ${url}`);
const terminal = createInterface({ input: process.stdin, output: process.stdout });
const callback = await terminal.question("Paste the address that the browser ends up at:\n");
terminal.close();

await app.exchange(callback.trim(), session, {
  subject: "ann",
  // A database would take it, before anybody gets the access token that came with it.
  onRotated: (refreshToken, user) => console.error(`a new refresh token for ${user}`),
});

const devices = await app.withSubject("ann").fetch(`${BASE_URL}/v1/devices`);
console.log(await devices.text());
