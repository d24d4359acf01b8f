package dev.remint.hosts

import dev.remint.Client
import dev.remint.HttpResponse
import dev.remint.Notice
import dev.remint.RemintException
import dev.remint.Transport
import dev.remint.TransportException
import dev.remint.UsageException
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonObject
import java.io.ByteArrayOutputStream
import java.io.NotSerializableException
import java.io.ObjectOutputStream
import java.time.Duration
import java.time.Instant
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import java.util.logging.LogRecord
import java.util.logging.Logger
import java.util.logging.StreamHandler

/** What a user sees of a client. */
internal fun Suite.calls() {
    tokens()
    requests()
    misuse()
    functions()
}

private fun Suite.tokens() {
    test("call: the second call is answered from the cache") {
        val lane = Lane()
        val client = lane.client()
        equal(null, client.peek(), "kept")
        val first = client.tokenBlocking()
        equal(listOf("Bearer", 1L, "wallets:read"), listOf(first.tokenType, first.generation, first.scope), "token")
        equal("Bearer ${first.accessToken}", first.authorization, "authorization")
        check(first.expiresIn() in Duration.ofSeconds(3_580)..Duration.ofSeconds(3_600)) { first.expiresIn() }
        check(first.expiresAt in Instant.now().plusSeconds(3_580)..Instant.now().plusSeconds(3_601)) { first.expiresAt }
        equal(first.accessToken, runBlocking { client.token() }.accessToken, "token")
        equal(first.accessToken, client.tokenAsync().get().accessToken, "token")
        check(client.tokenBlocking() === client.peek()) { "it was made again" }
        equal(1, lane.tokenRequests(), "requests")
    }

    test("call: force, minTtl and invalidate each get another token") {
        val lane = Lane()
        val client = lane.client()
        val tokens = mutableListOf(client.tokenBlocking(), client.tokenBlocking(Duration.ZERO, true))
        client.invalidateBlocking()
        equal(null, client.peek(), "kept")
        tokens += client.tokenBlocking()
        equal(3, distinct(tokens), "tokens")
        val short = failure<RemintException> { client.tokenBlocking(Duration.ofHours(2)) }
        equal("min_ttl_unavailable", short.code, "code")
        check(short.lifetime!! in Duration.ofSeconds(3_580)..Duration.ofSeconds(3_600)) { short.lifetime }
    }

    test("call: scopes and subjects have tokens of their own") {
        val lane = Lane()
        val client = lane.client()
        val ledger = client.withScope("ledger:read")
        equal(2, distinct(listOf(client.tokenBlocking(), ledger.tokenBlocking())), "tokens")
        equal(1, client.withScope("ledger:read").tokenBlocking().generation, "generation")
        val both = client.withScope("wallets:write ledger:read").tokenBlocking()
        equal(both.accessToken, client.withScope("ledger:read", "wallets:write").tokenBlocking().accessToken, "token")
        equal(3, lane.tokenRequests(), "requests")
        client.withSubject("ann").tokenBlocking()
        equal(4, lane.tokenRequests(), "requests")
        equal("invalid_option", failure<UsageException> { client.withScope("two\nlines").tokenBlocking() }.code, "code")
    }

    test("call: the cached token is shown until it ends and no longer") {
        val clock = MovedClock()
        val client = Lane().client { clock(clock) }
        client.tokenBlocking()
        for ((left, isThere) in listOf(HOUR / 2 to true, 400_000L to true, -1L to false)) {
            clock.moveTo(HOUR - left)
            equal(isThere, client.peek() != null, "$left ms before its end")
        }
    }

    test("call: a fixed token asks nobody") {
        val client = Client.fixed("t0ken", "https://api.example")
        equal("t0ken", client.tokenBlocking().accessToken, "token")
        equal(mapOf("Authorization" to "Bearer t0ken"), client.headersBlocking("GET", "https://api.example/x"), "headers")
        equal("origin_not_allowed", failure<UsageException> { client.headersBlocking("GET", "https://evil.example/x") }.code, "code")
        check(client.tokenBlocking().expiresIn() > Duration.ofDays(365)) { client.tokenBlocking().expiresIn() }
    }

    test("call: what is printed or serialized holds no secret") {
        val lane = Lane()
        val client = lane.client("phoenix-market") { parameters(mapOf("resource_owner" to "hush-hush")) }
        val token = client.tokenBlocking()
        val insecure = client.insecureUrlBlocking("${lane.url("phoenix-market")}/embed")
        for (thing in listOf(client, token, insecure, lane, client.peek())) checkNoSecret("$thing", token.accessToken, "hush-hush")
        for (thing in listOf(client, token)) {
            failure<NotSerializableException> { ObjectOutputStream(ByteArrayOutputStream()).writeObject(thing) }
        }
    }
}

private fun Suite.requests() {
    test("call: a token goes nowhere that nobody declared") {
        val lane = Lane()
        val client = lane.client()
        for (url in listOf(Authority.address("other"), "https://attacker.example/", "http://attacker.example/", "not a url", "")) {
            equal("origin_not_allowed", failure<UsageException> { client.headersBlocking("GET", url) }.code, "code for `$url`")
        }
        equal(setOf("Authorization"), runBlocking { client.headers("GET", "${lane.url("phoenix-wallet")}/v1/wallets") }.keys, "headers")
        val mine = lane.client { apiOrigins(Authority.address("other")) }
        check(mine.headersBlocking("GET", lane.url("phoenix-wallet", "other")).isNotEmpty()) { "no headers" }
    }

    test("call: personify: the tenant goes with the token") {
        val lane = Lane()
        val headers = lane.client("personify").headersBlocking("GET", "${lane.url("personify")}/v1/people")
        equal("demo-tenant", headers["X-Tenant-Id"], "tenant")
    }

    test("call: a refused token is replaced, and a late refusal of an old one does not cost the new one") {
        val lane = Lane()
        val client = lane.client()
        val url = "${lane.url("phoenix-wallet")}/v1/wallets"
        client.tokenBlocking()
        val token = client.tokenBlocking()
        equal(false, client.rejectBlocking(token, "GET", url, 200), "a success is retried")
        equal(true, client.rejectBlocking(token, "GET", url, 401, mapOf("WWW-Authenticate" to listOf("""Bearer error="invalid_token""""))), "retry")
        val next = runBlocking { client.token() }
        equal(token.generation + 1, next.generation, "generation")
        equal(true, runBlocking { client.reject(token, "GET", url, 401) }, "retry")
        equal(next.generation, client.tokenAsync().get().generation, "generation")
        equal(2, lane.tokenRequests(), "requests")
    }

    test("call: a token with too little scope is not replaced") {
        val lane = Lane()
        val client = lane.client()
        lane.fault {
            put("endpoint", "api"); put("count", JsonNull); put("status", 401)
            putJsonObject("headers") { put("www-authenticate", """Bearer error="insufficient_scope", scope="ledger:read"""") }
        }
        equal(401, call(client, "${lane.url("phoenix-wallet")}/v1/wallets"), "status")
        equal(1, lane.tokenRequests(), "requests")
        equal(1, lane.count("api/total"), "API calls")
    }

    test("call: bodies are sent again with the second token") {
        val lane = Lane()
        val client = lane.client { scope("wallets:write") }
        client.tokenBlocking()
        lane.revoke()
        equal(200, call(client, "${lane.url("phoenix-wallet")}/v1/wallets", "POST", "seventeen bytes!!"), "status")
        equal(2, lane.tokenRequests(), "requests")
    }
}

private fun Suite.misuse() {
    val wrong = listOf<Pair<String, (Lane) -> Unit>>(
        "profile" to { Client("phoenix-walet", "a", "b") },
        "softMargn" to { it.client { policy(mapOf("softMargn" to 3)) } },
        "requestTimeout" to { it.client { requestTimeout(Duration.ofSeconds(-1)) } },
        "requestTimeout" to { it.client { requestTimeout(Duration.ZERO) } },
        "requestTimeout" to { it.client { requestTimeout(Duration.ofSeconds(Long.MAX_VALUE)) } },
        "scope" to { it.client { scope("two\nlines") } },
        "clientSecret" to { it.client { clientSecret("a\u0000b") } },
        "clientSecret" to { it.client { clientSecret("\ud800") } },
        "tenant" to { it.client { variable("tenant", "x") } },
        "tokenEndpoint" to { it.client { variable("tokenEndpoint", "http://elsewhere.example/token") } },
        "tokenEndpoint" to { it.client { variable("tokenEndpoint", "not a url") } },
        "parameters" to { it.client { parameters(mapOf("grant_type" to "password")) } },
        "apiOrigins" to { it.client { apiOrigins("nowhere") } },
        "proxy" to { it.client { http(Transport { CompletableFuture() }).proxy(java.net.ProxySelector.getDefault()) } },
        "minTtl" to { it.client().tokenBlocking(Duration.ofSeconds(-1)) },
        "timeout" to { it.client().tokenBlocking(Duration.ZERO, false, Duration.ofSeconds(-1)) },
    )
    for ((index, case) in wrong.withIndex()) {
        test("call: a wrong `${case.first}` is named (${index + 1})") {
            val error = failure<UsageException> { case.second(Lane()) }
            check(case.first in error.message.orEmpty()) { error }
            checkNoSecret(error.stackTraceToString())
        }
    }

    test("call: a text that is no Unicode is refused wherever it comes in, and hurts nobody") {
        val lane = Lane()
        val client = lane.client()
        val half = "x\ud800y"
        val tries = listOf<() -> Any?>(
            { client.headersBlocking("GET", half) },
            { client.headersBlocking(half, "https://api.example/") },
            { client.withScope(half).tokenBlocking() },
            { client.withSubject(half).tokenBlocking() },
            { client.withSubject("ann", half) },
            { client.authorizationUrlBlocking(half) },
            { client.exchangeBlocking(half, half) },
            { client.rejectBlocking(client.tokenBlocking(), "GET", half, 401, mapOf(half to listOf(half))) },
            { Client(half, half, half) },
        )
        for ((index, act) in tries.withIndex()) {
            val thrown = runCatching { act() }.exceptionOrNull() ?: continue
            check(thrown is RemintException) { "number $index: ${thrown.stackTraceToString()}" }
        }
        equal(1, client.tokenBlocking().generation, "generation")
    }

    test("call: a status that is none") {
        val client = Lane().client()
        val token = client.tokenBlocking()
        for (status in listOf(-1, 70_000, Int.MAX_VALUE)) {
            equal("invalid_event", failure<UsageException> { client.rejectBlocking(token, "GET", "https://api.example/", status) }.code, "code")
        }
    }

    test("call: durations as long as there are") {
        val client = Lane().client()
        equal(1, client.tokenBlocking(Duration.ZERO, false, Duration.ofSeconds(Long.MAX_VALUE)).generation, "generation")
        equal("min_ttl_unavailable", failure<RemintException> { client.tokenBlocking(Duration.ofSeconds(Long.MAX_VALUE)) }.code, "code")
        equal(1, client.tokenBlocking(Duration.ZERO, false, Duration.ZERO).generation, "generation")
    }

    test("call: a client without patience does not wait") {
        val lane = Lane()
        lane.fault { put("hold", true) }
        val error = failure<TransportException> { lane.client().tokenBlocking(Duration.ZERO, false, Duration.ZERO) }
        equal("timeout", error.code, "code")
        lane.release()
    }
}

private val GOOD = HttpResponse(200, emptyMap(), """{"access_token":"T","token_type":"Bearer","expires_in":3600}""".toByteArray())

private fun Suite.functions() {
    test("call: a transport of the user's") {
        val seen = CopyOnWriteArrayList<String>()
        val client = Lane().client {
            http { request ->
                seen += "${request.method} ${request.headers.keys.map { it.lowercase() }.sorted()} ${request.body?.decodeToString()}"
                checkNoSecret("$request")
                check(request.timeout in Duration.ofMillis(1)..Duration.ofSeconds(10) && request.cap >= 256 * 1024) { request }
                CompletableFuture.completedFuture(GOOD)
            }
        }
        equal("T", client.tokenBlocking().accessToken, "token")
        check(seen.single().startsWith("POST [accept, content-type") && "grant_type=client_credentials" in seen.single()) { seen }
    }

    for ((name, transport) in listOf<Pair<String, Transport>>(
        "throws" to Transport { throw IllegalStateException("broken") },
        "throws an error" to Transport { throw StackOverflowError() },
        "gives nothing" to NullTransport.transport,
        "gives a stage with nothing" to Transport { CompletableFuture.completedFuture(null) },
        "fails" to Transport { CompletableFuture.failedFuture(java.io.IOException("broken")) },
        "gives an impossible status" to Transport { CompletableFuture.completedFuture(HttpResponse(70_000, emptyMap(), ByteArray(0))) },
        "gives no body" to Transport { CompletableFuture.completedFuture(HttpResponse(200, emptyMap(), ByteArray(0))) },
        "gives a header line that is none" to Transport { CompletableFuture.completedFuture(HttpResponse(200, mapOf("a\r\nb" to listOf("\u0000")), ByteArray(0))) },
        "never answers" to Transport { CompletableFuture() },
    )) {
        test("call: a transport of the user's that $name holds nobody") {
            val client = Lane().client { http(transport).requestTimeout(Duration.ofMillis(500)).policy(mapOf("attempts" to 1)) }
            var error: RemintException? = null
            val took = millis { error = failure<RemintException> { client.tokenBlocking() } }
            val expected = if (name == "never answers") listOf("timeout") else listOf("transport_failed", "unexpected_answer", "host_error")
            check(error!!.code in expected) { error?.stackTraceToString() }
            check(name == "never answers" || took < 400) { "it took $took ms: somebody waited for the deadline" }
        }
    }

    test("call: a transport of the user's that blocks, as none may, holds nobody but the caller whose thread it has") {
        val latch = CountDownLatch(1)
        val blocked = CountDownLatch(1)
        val client = Lane().client {
            http {
                blocked.countDown()
                latch.await()
                CompletableFuture.completedFuture(GOOD)
            }
            requestTimeout(Duration.ofMillis(300)).policy(mapOf("attempts" to 1))
        }
        val first = inThread { client.tokenBlocking() }
        blocked.await()
        try {
            equal("timeout", within(20) { failure<TransportException> { client.tokenBlocking() } }.code, "code")
        } finally {
            latch.countDown()
        }
        runCatching { first.get() }
    }

    test("call: notices tell what happened, and a function that fails harms nobody") {
        val notices = CopyOnWriteArrayList<Notice>()
        Lane().client { onNotice { notices += it } }.tokenBlocking()
        eventually("a notice") { notices.map { it.name } == listOf("fetched") }
        equal("cold", notices.single().detail, "detail")
        val logger = Logger.getLogger("dev.remint")
        val logged = CopyOnWriteArrayList<LogRecord>()
        val handler = object : StreamHandler() {
            override fun publish(record: LogRecord) {
                logged += record
            }
        }
        logger.addHandler(handler)
        logger.useParentHandlers = false
        try {
            equal(1, Lane().client { onNotice { throw IllegalStateException("a logger of theirs") } }.tokenBlocking().generation, "generation")
            eventually("a line in the log") { logged.any { it.thrown?.message == "a logger of theirs" } }
        } finally {
            logger.removeHandler(handler)
            logger.useParentHandlers = true
        }
    }

    test("call: a function that asks the same client inside of a notice does not hang") {
        val lane = Lane()
        val inner = CompletableFuture<Long>()
        lateinit var client: Client
        client = lane.client { onNotice { client.tokenAsync().thenAccept { inner.complete(it.generation) } } }
        equal(1, client.tokenBlocking().generation, "generation")
        equal(1, inner.get(), "generation")
    }

    test("call: what a caller does with a future does not hold up the others") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 300) }
        val client = lane.client()
        val latch = CountDownLatch(1)
        val before = client.tokenAsync().thenAccept { latch.await() }
        val others = List(20) { client.tokenAsync() }
        val coroutine = inThread { runBlocking { client.token() } }
        val after = client.tokenAsync().thenAccept { latch.await() }
        try {
            within(20) { (others + coroutine).forEach { it.get() } }
            check(!before.isDone && !after.isDone) { "they were not held" }
        } finally {
            latch.countDown()
        }
        equal(1, lane.tokenRequests(), "requests")
    }

    test("call: a shared store hands the token to the next process") {
        val lane = Lane()
        val shelf = Shelf()
        val first = lane.client { store(shelf) }.tokenBlocking()
        check(shelf.commands.isNotEmpty() && shelf.isUnlocked) { shelf.commands }
        equal(first.accessToken, lane.client { store(shelf) }.tokenBlocking().accessToken, "token")
        equal(1, lane.tokenRequests(), "requests")
    }
}
