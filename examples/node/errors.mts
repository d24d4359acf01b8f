// The three families of errors in TypeScript, and a `fetch` for an SDK that knows nothing of tokens.
import { Client, RemintError, ServerError, TransportError, type Notice } from "remint";

const { CLIENT_ID, CLIENT_SECRET, TOKEN_ENDPOINT, BASE_URL = "https://api.phoenixwallet.io" } = process.env;

const wallet = new Client("phoenix-wallet", {
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  scope: ["wallets:read"],
  tokenEndpoint: TOKEN_ENDPOINT,
  baseUrl: BASE_URL,
  allowLoopbackHttp: true,
  onNotice: ({ notice, detail }: Notice) => console.error(notice, detail ?? ""),
});

class WalletSdk {
  readonly send: typeof fetch;

  constructor(send: typeof fetch) {
    this.send = send;
  }

  async wallets(): Promise<unknown> {
    const response = await this.send(`${BASE_URL}/v1/wallets`);
    return response.json();
  }
}

try {
  console.log(JSON.stringify(await new WalletSdk(wallet.fetch).wallets()));
} catch (error) {
  if (!(error instanceof RemintError)) throw error;
  if (error instanceof ServerError) {
    console.error(`The server said no: ${error.code} (status ${error.status})`);
  } else if (error instanceof TransportError) {
    console.error(`No answer arrived: ${error.code}`);
  } else {
    console.error(`This program is wrong: ${error.code}`);
  }
  // The same text says what to do. `retryAfter` is in seconds.
  console.error(error.message);
  process.exitCode = error.retryable ? 75 : 1;
}
