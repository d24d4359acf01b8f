// Phoenix Security: a token by GET with Basic authentication, of a server whose clock is off.
import { Client } from "remint";

const { CLIENT_ID, CLIENT_SECRET, BASE_URL = "https://api.securityphoenix.cloud" } = process.env;

const security = new Client("phoenix-security", {
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  baseUrl: BASE_URL,
  allowLoopbackHttp: true,
  // What happened, for your log. There is never a secret in it.
  onNotice: (notice) => console.error(notice),
});

const assets = await security.fetch(`${BASE_URL}/v1/assets`);
console.log(await assets.text());
