// Personify: the tenant's id goes on every API request beside the token.
import { Client } from "remint";

const { CLIENT_ID, CLIENT_SECRET, TENANT_ID, TOKEN_ENDPOINT, BASE_URL } = process.env;

const personify = new Client("personify", {
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  tenantId: TENANT_ID,
  tokenEndpoint: TOKEN_ENDPOINT,
  baseUrl: BASE_URL,
  allowLoopbackHttp: true,
});

// However many ask at once: there is one token request.
const calls = Array.from({ length: 50 }, (_, page) => personify.fetch(`${BASE_URL}/v1/customers?page=${page}`));
for (const customers of await Promise.all(calls)) console.log(await customers.text());
