// phoenix.market: what a back end hands to its front end, and the iframe's URL. ../phoenix-market-story has the whole of it.
import { Client } from "remint";

const { CLIENT_ID, CLIENT_SECRET, TOKEN_ENDPOINT, IFRAME_URL } = process.env;

const market = new Client("phoenix-market", {
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  tokenEndpoint: TOKEN_ENDPOINT,
  iframeUrl: IFRAME_URL,
  allowLoopbackHttp: true,
});

// One token serves all users. The answer to the front end must say `Cache-Control: no-store`.
const token = await market.token();
console.log(JSON.stringify({ access_token: token.accessToken, expires_in: Math.floor(token.expiresIn()) }));

// Histories and logs keep URLs, so this one is asked for by name.
const iframe = await market.insecureUrl(IFRAME_URL);
console.log(`<iframe src="${iframe.url}"></iframe>`);
