// A provider of your own, without a line of code: PROFILE names a document, such as those in ../profiles.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { Client } from "remint";

const { PROFILE, CLIENT_ID, CLIENT_SECRET, API_TOKEN, BASE_URL, REGION, FORGE_URL, API_URL, REDIRECT_URI } = process.env;

const client = new Client(await readFile(PROFILE, "utf8"), {
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  apiToken: API_TOKEN,
  // What the documents declare as their variables.
  baseUrl: BASE_URL,
  region: REGION,
  forgeUrl: FORGE_URL,
  apiUrl: API_URL,
  allowLoopbackHttp: true,
});

// Only where a person has to authorize the program.
if (REDIRECT_URI !== undefined) {
  const { url, session } = await client.authorizationUrl({ redirectUri: REDIRECT_URI });
  console.log(`Open ${url}`);
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  await client.exchange(await terminal.question("Paste the address that the browser ends up at:\n"), session);
  terminal.close();
}

console.log(String(await client.token()));
const answer = await client.fetch(`${API_URL ?? BASE_URL}/user`);
console.log(await answer.text());
