// Phoenix Wallet: the wallets of one client, with the scopes that are needed and no others.
import { Client } from "remint";

const { CLIENT_ID, TOKEN_ENDPOINT, BASE_URL = "https://api.phoenixwallet.io" } = process.env;

const wallet = new Client("phoenix-wallet", {
  clientId: CLIENT_ID,
  // A function is asked at each token request: a rotated secret needs no restart.
  clientSecret: () => process.env.CLIENT_SECRET,
  scope: ["wallets:read"],
  tokenEndpoint: TOKEN_ENDPOINT,
  baseUrl: BASE_URL,
  allowLoopbackHttp: true,
});

const wallets = await wallet.fetch(`${BASE_URL}/v1/wallets`);
console.log(await wallets.text());
