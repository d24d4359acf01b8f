package dev.remint.hosts

import dev.remint.Builder
import dev.remint.Client
import dev.remint.OnRotated
import dev.remint.RemintException
import dev.remint.ServerException
import dev.remint.TransportException
import dev.remint.UsageException
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.yield
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.add
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray
import java.io.InputStream
import java.io.OutputStream
import java.net.InetSocketAddress
import java.net.Proxy
import java.net.ProxySelector
import java.net.ServerSocket
import java.net.Socket
import java.net.SocketAddress
import java.net.URI
import java.net.URLDecoder
import java.time.Duration
import java.util.concurrent.CopyOnWriteArrayList
import java.util.function.Supplier
import kotlin.concurrent.thread

private val FOUR = listOf("phoenix-security", "phoenix-wallet", "phoenix-market", "personify")

/** What each of the five providers' documentation promises, against a server that checks it strictly. */
internal fun Suite.providers() {
    for (provider in FOUR) {
        test("provider: $provider: a token, an API call, and recovery after a revocation") {
            val lane = Lane()
            val client = lane.client(provider)
            val url = "${lane.url(provider)}/v1/wallets"
            equal(200, call(client, url), "status")
            lane.revoke()
            equal(200, call(client, url), "status")
            equal(200, call(client, url), "status")
            equal(2, lane.tokenRequests(), "requests")
            equal(1, lane.count("api/by_status/401"), "refused")
            equal(emptyList<String>(), problems(lane), "problems")
        }
        test("provider: $provider: over TLS, with an authority of its own") {
            val lane = Lane()
            val client = lane.client(provider, "https") { sslContext(Authority.trust) }
            val headers = client.headersBlocking("GET", "${lane.url(provider, "https")}/v1/wallets")
            check(headers.isNotEmpty()) { "no headers" }
            equal(1, lane.tokenRequests(), "requests")
        }
    }
    tls()
    rapidomize()
    credentials()
}

private fun problems(lane: Lane): List<String> = lane.log("token").map { it["problems"].toString() }.filter { it != "[]" }

private fun Suite.tls() {
    test("provider: a certificate that nobody signed is refused before anything is sent, and the error names `sslContext`") {
        val lane = Lane()
        val client = lane.client(origin = "https") { policy(mapOf("attempts" to 1)) }
        val error = failure<TransportException> { client.tokenBlocking() }
        equal("transport_failed", error.code, "code")
        check("sslContext" in error.hint.orEmpty()) { error }
        equal(0, lane.tokenRequests(), "requests")
    }

    test("provider: through a proxy, which sees where to and nothing of what is said there") {
        val lane = Lane()
        Tunnel().use { proxy ->
            val client = lane.client("personify", "https") { sslContext(Authority.trust).proxy(proxy.selector) }
            client.tokenBlocking()
            equal(1, lane.tokenRequests(), "requests")
            val address = URI(lane.url("personify", "https"))
            check(proxy.heads.isNotEmpty() && proxy.heads.all { it.startsWith("CONNECT ${address.authority} ") }) { proxy.heads }
            proxy.heads.forEach { checkNoSecret(it) }
        }
    }

    test("provider: a proxy that is not there, and one that refuses") {
        val lane = Lane()
        val port = ServerSocket(0).use { it.localPort }
        for (selector in listOf(ProxySelector.of(InetSocketAddress("127.0.0.1", port)), Tunnel(refuses = true).selector)) {
            val client = lane.client("personify", "https") { sslContext(Authority.trust).proxy(selector).policy(mapOf("attempts" to 1)) }
            equal("transport_failed", failure<RemintException> { client.tokenBlocking() }.code, "code")
        }
        equal(0, lane.tokenRequests(), "requests")
    }
}

private fun Suite.rapidomize() {
    test("provider: rapidomize: a person signs in once, and the refresh token does the rest") {
        val lane = Lane()
        val saved = CopyOnWriteArrayList<Pair<String, String?>>()
        val client = lane.client("rapidomize")
        val authorization = client.authorizationUrlBlocking()
        checkNoSecret("$authorization", authorization.session)
        equal("S256", query(authorization.url)["code_challenge_method"], "challenge method")
        val callback = consent(authorization.url)

        val forged = callback.replace("state=", "state=x")
        equal("state_mismatch", failure<ServerException> { client.exchangeBlocking(forged, authorization.session, "ann") }.code, "code")
        val mixedUp = callback.replace("iss=http", "iss=https")
        equal("issuer_mismatch", failure<ServerException> { client.exchangeBlocking(mixedUp, authorization.session, "ann") }.code, "code")
        equal(0, lane.tokenRequests(), "requests")

        val save = OnRotated { token, subject -> saved += token to subject }
        val token = client.exchangeBlocking(callback, authorization.session, "ann", save)
        equal(1, saved.size, "saved")
        val again = failure<ServerException> { client.exchangeBlocking(callback, authorization.session, "ann") }
        equal("state_mismatch", again.code, "code")
        val ann = client.withSubject("ann")
        equal(token.accessToken, ann.tokenBlocking().accessToken, "token")
        equal(200, call(ann, "${lane.url("rapidomize")}/v1/things"), "status")
        equal(token.generation + 1, ann.tokenBlocking(Duration.ZERO, true).generation, "generation")
        equal(listOf("ann", "ann"), saved.map { it.second }, "subjects")
        check(saved[0].first != saved[1].first) { "the refresh token did not change" }

        // Another process begins with what the database holds.
        lane.client("rapidomize").withSubject("ann", saved.last().first).tokenBlocking()
        equal(0, lane.count("refresh_tokens_reused"), "reused")
        equal(3, lane.tokenRequests(), "requests")
        equal(emptyList<String>(), problems(lane), "problems")
    }

    test("provider: rapidomize: a callback may be a URL, a query or its parameters, for coroutines and futures too") {
        val lane = Lane()
        val client = lane.client("rapidomize")
        val shapes = listOf<(String, String) -> String>(
            { url, session -> client.exchangeBlocking(url, session, "ann").tokenType },
            { url, session -> client.exchangeBlocking(URI(url).rawQuery, session, "ann").tokenType },
            { url, session -> client.exchangeBlocking(query(url).mapValues { listOf(it.value) }, session, "ann").tokenType },
            { url, session -> runBlocking { client.exchange(url, session, "ann").tokenType } },
            { url, session -> runBlocking { client.exchange(query(url).mapValues { listOf(it.value) }, session, "ann").tokenType } },
            { url, session -> client.exchangeAsync(url, session, "ann").get().tokenType },
        )
        for (exchange in shapes) {
            val authorization = runBlocking { client.authorizationUrl() }
            equal("Bearer", exchange(consent(authorization.url), authorization.session), "token type")
        }
        val authorization = client.authorizationUrlBlocking()
        val repeated = query(consent(authorization.url)).mapValues { listOf(it.value, it.value) }
        failure<RemintException> { client.exchangeBlocking(repeated, authorization.session, "ann") }
    }

    test("provider: rapidomize: a person who does not agree") {
        val lane = Lane()
        lane.settings { put("approve", false) }
        val client = lane.client("rapidomize")
        val authorization = client.authorizationUrlBlocking()
        val error = failure<ServerException> { client.exchangeBlocking(consent(authorization.url), authorization.session, "ann") }
        equal("access_denied", error.oauthError ?: error.code, "OAuth error")
        equal(0, lane.tokenRequests(), "requests")
    }

    test("provider: rapidomize: an answer that another issuer gave") {
        val lane = Lane()
        lane.settings { put("iss", "https://attacker.example") }
        val client = lane.client("rapidomize")
        val authorization = client.authorizationUrlBlocking()
        val error = failure<ServerException> { client.exchangeBlocking(consent(authorization.url), authorization.session, "ann") }
        equal("issuer_mismatch", error.code, "code")
        equal(0, lane.tokenRequests(), "requests")
    }

    test("provider: rapidomize: the new refresh token is saved before the access token is handed out, by functions that suspend too") {
        val lane = Lane()
        val first = lane.mint("carol")
        var saved = first
        val save = OnRotated.suspending { token, _ ->
            yield()
            saved = token
        }
        lane.client("rapidomize").withSubject("carol", first, save).tokenBlocking()
        check(saved != first) { "it was not saved first" }
        val again = lane.client("rapidomize").withSubject("carol", saved)
        equal(200, call(again, "${lane.url("rapidomize")}/v1/me"), "status")
    }

    test("provider: rapidomize: whoever never signed in has to") {
        val error = failure<ServerException> { Lane().client("rapidomize").withSubject("bob").tokenBlocking() }
        equal("reauthorization_required", error.code, "code")
    }

    test("provider: rapidomize: one rotation however many of a user's callers there are") {
        val lane = Lane()
        val clock = MovedClock()
        val saved = CopyOnWriteArrayList<String>()
        val client = lane.client("rapidomize") { clock(clock) }.withSubject("bob", lane.mint("bob")) { token, _ -> saved += token }
        for (round in 1..5) {
            val tokens = Coroutines.ask(100, client) + PlatformThreads.ask(16, client)
            equal(setOf(round.toLong()), tokens.map { it.generation }.toSet(), "generations")
            clock.moveTo(round * (2 * HOUR + 1_000))
        }
        equal(5, lane.tokenRequests(), "requests")
        equal(5, saved.distinct().size, "saved")
        equal(0, lane.count("refresh_tokens_reused"), "reused")
    }
}

private fun Suite.credentials() {
    test("provider: rapidomize: an API token goes as Basic, in the header that you choose, or insecurely into a URL") {
        val lane = Lane()
        val base = lane.url("rapidomize")
        for (header in listOf("Authorization", "x-rpz-auth")) {
            val client = Client.builder("rapidomize").clientId(CLIENT_ID).apiToken("t0ken+/%&: odd").allowLoopbackHttp(true)
                .variable("grant", "api_token").variable("authHeader", header).variable("baseUrl", base).endpoints(base).build()
            val url = "$base/v1/things"
            val headers = client.headersBlocking("GET", url)
            equal(setOf(header), headers.keys, "headers")
            val answer = Json.parseToJsonElement(Http.get(url, headers).body()) as JsonObject
            equal("api_token", answer["credential"]?.jsonPrimitive?.content, "credential")
            val insecure = client.insecureUrlBlocking(url)
            equal("no-store", insecure.headers["cache-control"], "cache-control")
            checkNoSecret("$insecure", "t0ken")
            equal(200, Http.get(insecure.url).statusCode(), "status")
        }
        equal(0, lane.tokenRequests(), "requests")
    }

    test("provider: phoenix-market: the page in the iframe takes the token in its URL") {
        val lane = Lane()
        val insecure = lane.client("phoenix-market").insecureUrlBlocking("${lane.url("phoenix-market")}/embed?page=1")
        equal("1", query(insecure.url)["page"], "page")
        equal(200, Http.get(insecure.url).statusCode(), "status")
        val wallet = lane.client("phoenix-wallet")
        equal("invalid_option", failure<UsageException> { wallet.insecureUrlBlocking("${lane.url("phoenix-wallet")}/x") }.code, "code")
    }

    test("provider: phoenix-security: the profile's older path, by name") {
        val lane = Lane()
        lane.settings { put("short_token_path", true) }
        equal("Bearer", lane.client("phoenix-security").tokenBlocking().tokenType, "token type")
    }

    test("provider: client authentication in the header where the server wants that") {
        for ((kind, option) in listOf("basic" to "client_secret_basic", "body" to "client_secret_post")) {
            val lane = Lane()
            lane.settings { putJsonArray("client_auth") { add(kind) } }
            val client = lane.client("rapidomize") { variable("clientAuth", option) }.withSubject("bob", lane.mint("bob"))
            equal("Bearer", client.tokenBlocking().tokenType, "token type")
            equal(listOf(kind), lane.log("token").map { it.getValue("authentication").jsonPrimitive.content }, "authentication")
        }
    }

    test("provider: a secret that a function reads is read for each request, and a failure of it is the cause") {
        val lane = Lane()
        lane.register("ann", "first")
        var secret: () -> String = { "first" }
        val client = lane.client("phoenix-market") { clientId("ann").clientSecret(Supplier { secret() }).policy(mapOf("attempts" to 1)) }
        client.tokenBlocking()
        lane.register("ann", "second")
        secret = { "second" }
        client.invalidateBlocking()
        equal(2, client.tokenBlocking().generation, "generation")
        secret = { throw IllegalStateException("the vault is sealed") }
        client.invalidateBlocking()
        val error = failure<TransportException> { client.tokenBlocking() }
        equal("host_error", error.code, "code")
        check(error.cause is IllegalStateException) { error.stackTraceToString() }
        equal(2, lane.tokenRequests(), "requests")
    }

    test("provider: a token goes as a header of the grammar that its profile says, whatever challenges an API makes") {
        val lane = Lane()
        lane.settings {
            putJsonArray("challenges") {
                add("""Basic realm="a, b", charset="UTF-8"""")
                add("""Bearer realm="x \"y\"", error="invalid_token", Digest qop="auth"""")
            }
        }
        val client = lane.client()
        val url = "${lane.url("phoenix-wallet")}/v1/wallets"
        equal(200, call(client, url), "status")
        lane.revoke()
        equal(200, call(client, url), "status")
        equal(2, lane.tokenRequests(), "requests")
    }

    test("provider: personify: a user's own token is not for the API, which no other token changes") {
        val lane = Lane()
        lane.fault { put("endpoint", "api"); put("status", 403); put("count", JsonNull) }
        val client = lane.client("personify")
        repeat(5) { equal(403, call(client, "${lane.url("personify")}/v1/people"), "status") }
        equal(1, lane.tokenRequests(), "requests")
    }
}

private fun Builder.endpoints(base: String) =
    variable("token_endpoint", "$base/oauth/token").variable("authorization_endpoint", "$base/oauth/authorize")

/** A person's browser: it opens the URL, agrees, and tells where it ends up. */
private fun consent(url: String): String = Http.get(url).headers().firstValue("location").orElseThrow()

private fun query(url: String): Map<String, String> = URI(url).rawQuery.split('&').associate { field ->
    val (name, value) = field.split('=', limit = 2)
    URLDecoder.decode(name, Charsets.UTF_8) to URLDecoder.decode(value, Charsets.UTF_8)
}

/** A proxy for `CONNECT`, and what it saw. */
private class Tunnel(private val refuses: Boolean = false) : AutoCloseable {
    private val listener = ServerSocket(0)
    val heads = CopyOnWriteArrayList<String>()
    val selector: ProxySelector = object : ProxySelector() {
        override fun select(uri: URI) = listOf(Proxy(Proxy.Type.HTTP, InetSocketAddress("127.0.0.1", listener.localPort)))

        override fun connectFailed(uri: URI, address: SocketAddress, failure: java.io.IOException) = Unit
    }

    init {
        thread(isDaemon = true) { runCatching { while (true) listener.accept().let { thread(isDaemon = true) { runCatching { serve(it) } } } } }
    }

    override fun close() = listener.close()

    private fun serve(client: Socket) {
        val head = ByteArray(8_192).let { buffer -> String(buffer, 0, client.getInputStream().read(buffer)) }
        heads += head
        if (refuses) {
            client.use { it.getOutputStream().write("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".toByteArray()) }
            return
        }
        val (host, port) = head.split(' ')[1].split(':')
        val server = Socket(host, port.toInt())
        client.getOutputStream().write("HTTP/1.1 200 OK\r\n\r\n".toByteArray())
        thread(isDaemon = true) { pump(server.getInputStream(), client.getOutputStream()) }
        pump(client.getInputStream(), server.getOutputStream())
    }

    private fun pump(source: InputStream, sink: OutputStream) {
        runCatching { source.transferTo(sink) }
        runCatching { sink.close() }
    }
}
