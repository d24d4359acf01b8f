package dev.remint

import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.json
import dev.remint.TestServer.Companion.token
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotSame
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.io.IOException
import java.net.ConnectException
import java.time.Duration
import java.util.concurrent.CancellationException
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread

@Timeout(120)
class ClientTest {
    private val clock = TestClock()
    private val server = TestServer()
    private val notices = Notices()

    private fun client(configure: Builder.() -> Unit = {}) = client(server, clock) {
        onNotice(notices)
        configure()
    }

    /** The answers of the server from now on are [tokens], in this order. */
    private fun answers(vararg tokens: HttpResponse) {
        val next = AtomicInteger()
        server.answer = { completed(tokens[minOf(next.getAndIncrement(), tokens.lastIndex)]) }
    }

    /** The answer of the server comes when the test says so. */
    private fun pending() = CompletableFuture<HttpResponse>().also { answer -> server.answer = { answer } }

    @Test
    fun `the first caller gets a token, and the next ones get the same object without a request`() = runBlocking {
        server.answer = { completed(token("T1", more = ""","scope":"wallets:read"""")) }
        val client = client()
        val token = client.token()
        assertEquals("T1", token.accessToken)
        assertEquals("Bearer T1", token.authorization)
        assertEquals("Bearer", token.tokenType)
        assertEquals("wallets:read", token.scope)
        assertEquals(1_700_003_600, token.expiresAt.epochSecond)
        assertEquals(Duration.ofHours(1), token.expiresIn())
        assertEquals(1, token.generation)
        val cached = client.token()
        assertEquals("T1", cached.accessToken)
        assertSame(cached, client.peek())
        assertSame(cached, client.tokenBlocking())
        assertSame(cached, client.tokenAsync().get())
        assertEquals(1, server.count)
        assertEquals(listOf("fetched:cold"), notices.all.toList())
    }

    @Test
    fun `the request is sent once, with what the profile wants`() {
        client().tokenBlocking()
        val request = server.requests.single()
        assertEquals("POST", request.method)
        assertTrue(request.url.startsWith("https://"))
        assertEquals("application/x-www-form-urlencoded", request.headers["content-type"])
        assertTrue("grant_type=client_credentials" in request.body!!.decodeToString())
        assertEquals(Duration.ofSeconds(10), request.timeout)
        assertEquals(262_144, request.cap)
    }

    @Test
    fun `a thousand coroutines on a cold client cost one request`() = runBlocking {
        val answer = pending()
        val client = client()
        val callers = List(1000) { async(start = CoroutineStart.UNDISPATCHED) { client.token() } }
        assertEquals(1, server.count)
        answer.complete(token("T1"))
        assertTrue(callers.awaitAll().all { it.accessToken == "T1" })
        assertEquals(1, server.count)
    }

    @Test
    fun `sixty-four threads on a cold client cost one request`() {
        val answer = pending()
        val client = client()
        val ready = CountDownLatch(64)
        val tokens = java.util.concurrent.ConcurrentLinkedQueue<Token>()
        val threads = List(64) {
            thread {
                ready.countDown()
                tokens += client.tokenBlocking()
            }
        }
        assertTrue(ready.await(60, TimeUnit.SECONDS))
        answer.complete(token("T1"))
        threads.forEach { it.join() }
        assertEquals(64, tokens.size)
        assertTrue(tokens.all { it.accessToken == "T1" })
        assertEquals(1, server.count)
    }

    @Test
    fun `peek never sends a request, and has nothing before there is a token`() {
        val client = client()
        assertNull(client.peek())
        assertEquals(0, server.count)
    }

    @Test
    fun `in the soft margin callers go on with the old token while one request renews it`() = runBlocking {
        answers(token("T1"))
        val client = client()
        client.token()
        clock.advance(3_400_000)
        val answer = pending()
        assertEquals("T1", client.token().accessToken)
        assertEquals("T1", client.token().accessToken)
        assertEquals(2, server.count)
        answer.complete(token("T2"))
        assertEquals("T2", client.token().accessToken)
        assertEquals(2, server.count)
    }

    @Test
    fun `a lease that was given during a flight is looked at again when the flight has failed`() = runBlocking {
        answers(token("T1"))
        val client = client()
        client.token()
        clock.advance(3_400_000)
        val answer = pending()
        client.token()
        answer.complete(json(503, "{}"))
        assertNull(client.peek())
        assertEquals("T1", client.token().accessToken)
        assertTrue("served_while_failing" in notices.all, notices.all.toString())
        assertEquals(2, server.count)
    }

    @Test
    fun `an expired token is never handed out, whichever clock says so`() = runBlocking {
        answers(token("T1"), token("T2"), token("T3"))
        val client = client()
        client.token()
        clock.advance(3_600_000)
        assertNull(client.peek())
        assertEquals("T2", client.token().accessToken)
        clock.jump(3_600_000)
        assertNull(client.peek())
        assertEquals("T3", client.token().accessToken)
    }

    @Test
    fun `minTtl gets a token with that much life, or says what the server gives`() = runBlocking {
        answers(token("T1"), token("T2", 900))
        val client = client()
        client.token()
        clock.advance(3_000_000)
        assertEquals("T2", client.token(minTtl = Duration.ofSeconds(700)).accessToken)
        val error = thrown<ServerException> { client.token(minTtl = Duration.ofHours(2)) }
        assertEquals("min_ttl_unavailable", error.code)
        assertEquals(Duration.ofSeconds(900), error.lifetime)
    }

    @Test
    fun `force asks for another token, and invalidate forgets the one there is`() = runBlocking {
        answers(token("T1"), token("T2"), token("T3"))
        val client = client()
        client.token()
        assertEquals("T2", client.token(force = true).accessToken)
        val other = client.withScope("wallets:read")
        client.invalidate()
        assertNull(client.peek())
        assertEquals("T3", client.token().accessToken)
        assertNull(other.peek())
    }

    @Test
    fun `a coroutine that is cancelled stops waiting, and the flight goes on for the others`() = runBlocking {
        val answer = pending()
        val client = client()
        val cancelled = launch(start = CoroutineStart.UNDISPATCHED) { client.token() }
        val patient = async(start = CoroutineStart.UNDISPATCHED) { client.token() }
        cancelled.cancelAndJoin()
        assertTrue(cancelled.isCancelled)
        answer.complete(token("T1"))
        assertEquals("T1", patient.await().accessToken)
        assertEquals(1, server.count)
        assertEquals(0, clock.pending)
    }

    @Test
    fun `a future that is cancelled stops waiting, and the flight goes on for the others`() {
        val answer = pending()
        val client = client()
        val cancelled = client.tokenAsync()
        val patient = client.tokenAsync()
        cancelled.cancel(true)
        answer.complete(token("T1"))
        assertEquals("T1", patient.get().accessToken)
        assertEquals(1, server.count)
    }

    @Test
    fun `the request of callers who all went away still fills the cache`() = runBlocking {
        val answer = pending()
        val client = client()
        val callers = List(10) { launch(start = CoroutineStart.UNDISPATCHED) { client.token() } }
        callers.forEach { it.cancelAndJoin() }
        answer.complete(token("T1"))
        assertEquals("T1", client.token().accessToken)
        assertEquals(1, server.count)
    }

    @Test
    fun `a thread that is interrupted stops waiting and stays interrupted`() {
        val answer = pending()
        val client = client()
        val outcome = CompletableFuture<Pair<Throwable, Boolean>>()
        val waiting = thread {
            val error = runCatching { client.tokenBlocking() }.exceptionOrNull()!!
            outcome.complete(error to Thread.currentThread().isInterrupted)
        }
        waiting.interrupt()
        val (error, isInterrupted) = outcome.get()
        assertTrue(error is CancellationException, error.toString())
        assertTrue(isInterrupted)
        answer.complete(token("T1"))
        assertEquals("T1", client.tokenBlocking().accessToken)
    }

    @Test
    fun `a caller waits no longer than its timeout, and the flight goes on`() {
        val answer = pending()
        val client = client()
        val hasty = client.tokenAsync(timeout = Duration.ofSeconds(2))
        val patient = client.tokenAsync()
        clock.advance(2000)
        assertEquals("timeout", thrown<TransportException> { hasty.awaitBlocking() }.code)
        assertFalse(patient.isDone)
        answer.complete(token("T1"))
        assertEquals("T1", patient.get().accessToken)
        assertEquals(1, server.count)
    }

    @Test
    fun `a request that never ends is over after requestTimeout, and its late answer is taken`() {
        val answer = pending()
        val client = client { requestTimeout(Duration.ofSeconds(3)) }
        val caller = client.tokenAsync(timeout = Duration.ofSeconds(3))
        clock.advance(3000)
        assertEquals("timeout", thrown<TransportException> { caller.awaitBlocking() }.code)
        answer.complete(token("T1"))
        assertEquals("T1", client.tokenBlocking(timeout = BRIEF).accessToken)
        assertEquals(1, server.count)
    }

    @Test
    fun `a failed request fails all who waited, each with an error of its own, and one request`() {
        val answer = pending()
        val client = client()
        val callers = List(10) { client.tokenAsync() }
        answer.complete(json(401, """{"error":"invalid_client"}"""))
        val errors = callers.map { thrown<ServerException> { it.awaitBlocking() } }
        assertTrue(errors.all { it.code == "invalid_client" && it.status == 401 && it.oauthError == "invalid_client" && !it.isRetryable })
        assertNotSame(errors[0], errors[1])
        assertEquals(1, server.count)
    }

    @Test
    fun `after a passing failure the next attempt waits its turn and succeeds`() {
        answers(json(503, "{}"), token("T1"))
        val client = client()
        val caller = client.tokenAsync()
        assertFalse(caller.isDone)
        clock.advance(500)
        assertEquals("T1", caller.get().accessToken)
        assertEquals(2, server.count)
    }

    @Test
    fun `what the transport fails with is the cause, and decides what it counts as`() {
        for ((failure, code) in listOf(
            ConnectException("refused") to "transport_failed",
            IOException("reset") to "transport_failed",
            TransportFailure(TransportFailure.Kind.TIMEOUT, IOException("late")) to "timeout",
            TransportFailure(TransportFailure.Kind.TOO_LARGE) to "answer_too_large",
        )) {
            server.answer = { throw failure }
            val error = thrown<TransportException> { client().tokenBlocking(timeout = BRIEF) }
            assertEquals(code, error.code)
            assertSame(failure, error.cause)
        }
    }

    @Test
    fun `a transport that gives nothing, or more than the cap, harms nobody`() {
        @Suppress("UNCHECKED_CAST")
        server.answer = { completed<HttpResponse?>(null) as CompletableFuture<HttpResponse> }
        assertEquals("transport_failed", thrown<TransportException> { client().tokenBlocking(timeout = BRIEF) }.code)
        server.answer = { completed(HttpResponse(200, emptyMap(), ByteArray(262_145))) }
        assertEquals("answer_too_large", thrown<TransportException> { client().tokenBlocking(timeout = BRIEF) }.code)
        server.answer = { completed(HttpResponse(99_999, mapOf("a" to listOf("b")), ByteArray(0))) }
        assertEquals("transport_failed", thrown<TransportException> { client().tokenBlocking(timeout = BRIEF) }.code)
    }

    @Test
    fun `a certificate that nobody trusts is told with what to do`() {
        server.answer = {
            val handshake = javax.net.ssl.SSLHandshakeException("PKIX path building failed")
            handshake.initCause(java.security.cert.CertificateException("unable to find valid certification path"))
            CompletableFuture.failedFuture(handshake)
        }
        val error = thrown<TransportException> { client().tokenBlocking(timeout = BRIEF) }
        assertTrue("sslContext" in error.hint!! && "proxy" in error.message!!)
    }

    @Test
    fun `another scope set has a token and a flight of its own, and the same set shares both`() = runBlocking {
        answers(token("T1"), token("T2"))
        val client = client()
        val view = client.withScope("wallets:read")
        assertEquals("T1", client.token().accessToken)
        assertEquals("T2", view.token().accessToken)
        assertEquals("T2", client.withScope("wallets:read").token().accessToken)
        assertEquals(2, server.count)
    }

    @Test
    fun `a client secret that is a function is asked before each request, off the caller's thread`() = runBlocking {
        val caller = Thread.currentThread()
        val secrets = AtomicInteger()
        var asked: Thread? = null
        val client = client {
            clientSecret {
                asked = Thread.currentThread()
                "secret-${secrets.incrementAndGet()}"
            }
        }
        client.token()
        client.token(force = true)
        val bodies = server.requests.map { it.body!!.decodeToString() }
        assertTrue("secret-1" in bodies[0] && "secret-2" in bodies[1])
        assertNotSame(caller, asked)
    }

    @Test
    fun `the last client secret that a builder is given counts`() {
        client { clientSecret { "other" }; clientSecret("s3cret-2") }.tokenBlocking()
        client { clientSecret("s3cret-3"); clientSecret { "s3cret-4" } }.tokenBlocking()
        val bodies = server.requests.map { it.body!!.decodeToString() }
        assertTrue("s3cret-2" in bodies[0] && "s3cret-4" in bodies[1])
    }

    @Test
    fun `a client secret that cannot be had is the host's error, with its cause`() {
        val failure = IllegalStateException("the vault is sealed")
        val error = thrown<TransportException> { client { clientSecret { throw failure } }.tokenBlocking(timeout = BRIEF) }
        assertEquals("host_error", error.code)
        assertSame(failure, error.cause)
        val missing = thrown<TransportException> {
            client { clientSecret(java.util.function.Supplier<String> { missingText() }) }.tokenBlocking(timeout = BRIEF)
        }
        assertEquals("host_error", missing.code)
        assertEquals(0, server.count)
    }

    @Test
    fun `onNotice is told what happened, and harms nobody by throwing`() {
        val client = client(server, clock) { onNotice { throw AssertionError("the log is full") } }
        val log = java.util.logging.Logger.getLogger("dev.remint").apply { useParentHandlers = false }
        try {
            assertEquals("T1", client.tokenBlocking().accessToken)
        } finally {
            log.useParentHandlers = true
        }
    }

    @Test
    fun `a notice's function may call the client`() {
        val seen = CompletableFuture<String>()
        lateinit var client: Client
        client = client(server, clock) { onNotice { seen.complete(client.tokenBlocking().accessToken) } }
        client.tokenBlocking()
        assertEquals("T1", seen.get(60, TimeUnit.SECONDS))
    }

    @Test
    fun `a closed client refuses new work, and close waits for what is under way`() {
        val answer = pending()
        val client = client()
        val caller = client.tokenAsync()
        val closing = client.closeAsync()
        assertFalse(closing.isDone)
        answer.complete(token("T1"))
        closing.get(60, TimeUnit.SECONDS)
        assertTrue(caller.isDone)
        assertNull(client.peek())
        for (call in listOf<() -> Any?>(
            { client.tokenBlocking() },
            { client.headersBlocking("GET", "https://api.phoenixwallet.io/") },
            { client.withScope("wallets:read").tokenBlocking() },
            { client.tokenAsync().awaitBlocking() },
        )) {
            assertEquals("closed", thrown<UsageException> { call() }.code)
        }
        client.close()
    }

    @Test
    fun `a sleeping flight ends when the client is closed`() {
        answers(json(503, "{}"))
        val client = client()
        val caller = client.tokenAsync()
        client.close()
        assertEquals("closed", thrown<UsageException> { caller.awaitBlocking() }.code)
    }

    @Test
    fun `a fixed token is there, and no other is asked for`() = runBlocking {
        val client = Client.fixed("abc", "https://api.example.com")
        assertEquals("abc", client.token().accessToken)
        assertEquals(mapOf("Authorization" to "Bearer abc"), client.headers("GET", "https://api.example.com/x"))
        assertTrue(client.token().expiresIn() > Duration.ofDays(365))
        assertEquals("origin_not_allowed", thrown<UsageException> { client.headers("GET", "https://api.example.org/x") }.code)
    }

    @Test
    fun `without background refresh a caller drives the renewal, and the others get the old token`() = runBlocking {
        answers(token("T1"))
        val client = client { backgroundRefresh(false) }
        client.token()
        clock.advance(3_400_000)
        val answer = pending()
        val elected = async(Dispatchers.Unconfined) { client.token() }
        assertEquals("T1", client.token().accessToken)
        answer.complete(token("T2"))
        elected.await()
        assertEquals("T2", client.token().accessToken)
        assertEquals(2, server.count)
    }

    @Test
    fun `reject tells whether another token is worth a second try`() = runBlocking {
        answers(token("T1"), token("T2"))
        val client = client()
        val url = "https://api.phoenixwallet.io/v1/wallets"
        client.token()
        val token = client.token()
        assertFalse(client.reject(token, "GET", url, 200))
        assertTrue(client.reject(token, "GET", url, 401))
        assertNull(client.peek())
        assertEquals("T2", client.token().accessToken)
    }

    @Test
    fun `arguments that make no sense are refused by name`() {
        val client = client()
        for ((name, call) in listOf<Pair<String, () -> Any?>>(
            "minTtl" to { client.tokenBlocking(minTtl = Duration.ofSeconds(-1)) },
            "timeout" to { client.tokenBlocking(timeout = Duration.ofSeconds(-1)) },
        )) {
            val error = thrown<UsageException> { call() }
            assertEquals("invalid_option", error.code)
            assertTrue("`$name`" in error.message!!, error.message)
        }
        assertEquals("T1", client.tokenBlocking(timeout = Duration.ofSeconds(Long.MAX_VALUE)).accessToken)
    }

    @Test
    fun `options of the wrong kind are refused by name`() {
        val ring = HashMap<String, Any>().also { it["ring"] = it }
        for ((name, configure) in listOf<Pair<String, Builder.() -> Unit>>(
            "colour" to { variable("colour", "red") },
            "tenantId" to { variable("tenantId", "x") },
            "scope" to { variable("scope", 12) },
            "requestTimeout" to { requestTimeout(Duration.ofSeconds(-1)) },
            "softMargin" to { policy(mapOf("softMargin" to "x")) },
            "policy" to { policy(mapOf("softMargin" to Any())) },
            "policy" to { policy(mapOf("softMargin" to Double.NaN)) },
            "policy" to { policy(ring) },
            "audience" to { variable("audience", listOf<Any?>(null)) },
            "parameters" to { parameters(mapOf("a" to "\uD800")) },
            "proxy" to { proxy(java.net.ProxySelector.of(null)) },
            "clientSecret" to { variable("clientSecret", 12) },
        )) {
            val error = thrown<UsageException> { client(configure) }
            assertEquals("invalid_option", error.code, name)
            assertTrue("`$name" in error.message!! || ".$name" in error.message!!, "$name: ${error.message}")
            assertFalse("s3cret" in error.message!!)
        }
    }

    @Test
    fun `a profile document is text, and a wrong one is told by a pointer`() {
        val acme = """{"name":"acme","title":"Acme","grants":["client_credentials"],
            "token":{"endpoint":"https://login.acme.example/token","client_auth":["client_secret_basic"]},
            "api_origins":["https://api.acme.example"]}"""
        val client = Client(acme, "id", "s3cret", listOf("orders:read")) { http(server) }
        assertEquals("T1", client.tokenBlocking().accessToken)
        assertEquals("https://login.acme.example/token", server.requests.single().url)
        val error = thrown<UsageException> { Client(acme.replace("https://api", "api"), "id", "s3cret") }
        assertEquals("invalid_profile", error.code)
        assertEquals("/api_origins/0", error.pointer)
        assertEquals("invalid_option", thrown<UsageException> { Client("") }.code)
    }

    @Test
    fun `durations in a policy count as seconds, and names may be in camel case`() = runBlocking {
        val client = client { policy(mapOf("softMargin" to Duration.ofMinutes(15), "hardMargin" to 1.5)) }
        client.token()
        clock.advance(2_600_000)
        client.token()
        assertEquals(1, server.count)
        clock.advance(110_000)
        client.token()
        assertEquals(2, server.count)
    }

    @Test
    fun `a random function that gives too little is refused`() {
        val client = client { random { ByteArray(3) } }
        assertTrue("`random`" in thrown<UsageException> { client.tokenBlocking() }.message!!)
    }

    @Test
    fun `a deferred answer reaches callers in other dispatchers`() = runBlocking {
        val gate = CompletableDeferred<Unit>()
        val answer = pending()
        val client = client()
        val callers = List(200) {
            async(Dispatchers.Default) {
                gate.await()
                client.token().accessToken
            }
        }
        gate.complete(Unit)
        answer.complete(token("T1"))
        assertEquals(setOf("T1"), callers.awaitAll().toSet())
        assertEquals(1, server.count)
    }
}

/** Too short for a second attempt. */
private val BRIEF = Duration.ofMillis(50)

/** As a function written in Java may give it. */
@Suppress("UNCHECKED_CAST")
private fun missingText(): String = (null as Any?).let { java.util.Optional.ofNullable(it as String?).orElse(null) }
