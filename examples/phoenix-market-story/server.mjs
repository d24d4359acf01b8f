// Phoenix's whole story, in Node: one token for all users, handed to the front end, and never the secret.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Client } from "remint";

const { CLIENT_ID, CLIENT_SECRET, TOKEN_ENDPOINT, IFRAME_URL, ALLOWED_ORIGINS = "", PORT = "8000" } = process.env;
const allowedOrigins = new Set(ALLOWED_ORIGINS.split(" ").filter(Boolean));

// One client for the whole process: however many users come, one token is asked for, and the next one in good time.
const phoenix = new Client("phoenix-market", {
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  tokenEndpoint: TOKEN_ENDPOINT,
  iframeUrl: IFRAME_URL,
  allowLoopbackHttp: true,
});

// The token stays good for at least this long after the page has it. No cron job can promise that.
const MIN_TTL = 300;

const server = createServer(async (request, response) => {
  try {
    if (request.method === "GET" && request.url === "/") {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
      response.end(await readFile(new URL("page.html", import.meta.url)));
    } else if (request.method === "GET" && request.url === "/phoenix") {
      await handOut(request, response);
    } else {
      response.writeHead(404).end();
    }
  } catch (error) {
    // The code is for whoever runs this; the page learns only when to come back.
    console.error(error.code, error.message);
    response.writeHead(503, { "retry-after": String(Math.ceil(error.retryAfter ?? 1)) }).end();
  }
});

async function handOut(request, response) {
  const { origin } = request.headers;
  if (origin !== undefined && !allowedOrigins.has(origin)) return response.writeHead(403).end();

  const token = await phoenix.token({ minTtl: MIN_TTL });
  const { url, headers } = await phoenix.insecureUrl(IFRAME_URL);
  if (origin !== undefined) headers["access-control-allow-origin"] = origin;
  response.writeHead(200, { ...headers, vary: "origin", "content-type": "application/json" });
  response.end(JSON.stringify({ iframe_url: url, expires_in: Math.floor(token.expiresIn()) }));
}

server.listen(Number(PORT), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
