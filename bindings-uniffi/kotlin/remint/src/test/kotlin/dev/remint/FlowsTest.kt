package dev.remint

import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.json
import dev.remint.TestServer.Companion.token
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.net.URLDecoder
import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CopyOnWriteArrayList

/** What is more than one question for a token: other devices, exchanged tokens, questions about tokens. */
@Timeout(60)
class FlowsTest {
    private val clock = TestClock()

    private fun fields(request: HttpRequest): Map<String, String> = request.body?.decodeToString().orEmpty().split('&').filter(String::isNotEmpty)
        .associate { it.substringBefore('=') to URLDecoder.decode(it.substringAfter('='), "UTF-8") }

    private fun client(server: Transport, grant: String, configure: Builder.() -> Unit = {}) = Client(PROFILE, "someone", "s3cret") {
        http(server)
        clock(clock)
        executor(Runnable::run)
        variable("grant", grant)
        configure()
    }

    @Test
    fun `a device code is shown and polled for until the person has answered`() {
        val polls = CopyOnWriteArrayList<Map<String, String>>()
        val server = TestServer { request ->
            when {
                request.url.endsWith("/device") -> completed(json(200, DEVICE))
                polls.run { add(fields(request)); size } < 3 -> completed(json(400, """{"error":"authorization_pending"}"""))
                else -> completed(token("T1", more = ""","refresh_token":"R1""""))
            }
        }
        val client = client(server, "device_code")
        val shown = client.deviceAuthorizationBlocking(listOf("a b"))
        assertEquals(listOf("WDJB-MJHT", "https://auth.example.com/activate", "https://auth.example.com/activate?c=WDJB-MJHT"), listOf(shown.userCode, shown.verificationUri, shown.qrText))
        assertEquals(listOf(Duration.ofMinutes(10), Duration.ofSeconds(5)), listOf(shown.expiresIn, shown.interval))
        assertEquals("a b", fields(server.requests.first())["scope"])
        assertFalse("GmRhm" in "$shown", "$shown")
        val kept = CopyOnWriteArrayList<String>()
        val polling = client.pollAsync(shown.session, "ann", { refreshToken, subject -> kept += "$subject $refreshToken" })
        repeat(3) {
            assertFalse(polling.isDone)
            clock.advance(5_000)
        }
        assertEquals("T1", polling.get().accessToken)
        assertEquals("T1", client.withSubject("ann").tokenBlocking().accessToken)
        assertEquals(listOf("ann R1"), kept)
        assertEquals("GmRhm", polls.last()["device_code"])
        assertEquals(3, polls.size)
    }

    @Test
    fun `whoever is cancelled gives the poll up, and nobody asks the server again`() {
        val server = TestServer { request ->
            completed(if (request.url.endsWith("/device")) json(200, DEVICE) else json(400, """{"error":"authorization_pending"}"""))
        }
        val client = client(server, "device_code")
        val polling = client.pollAsync(client.deviceAuthorizationBlocking().session)
        clock.advance(5_000)
        assertEquals(2, server.count)
        polling.cancel(false)
        clock.advance(30_000)
        assertEquals(2, server.count)
    }

    @Test
    fun `a code that nobody types in runs out`() {
        val server = TestServer { request ->
            completed(if (request.url.endsWith("/device")) json(200, DEVICE) else json(400, """{"error":"expired_token"}"""))
        }
        val client = client(server, "device_code")
        val polling = client.pollAsync(client.deviceAuthorizationBlocking().session)
        clock.advance(5_000)
        assertEquals("authorization_expired", thrown<ServerException> { polling.awaitBlocking() }.code)
    }

    @Test
    fun `a person is asked on a device of their own`() {
        val server = TestServer { request ->
            completed(if (request.url.endsWith("/bc")) json(200, """{"auth_req_id":"s3cret-id","expires_in":120,"interval":2}""") else token("T1"))
        }
        val client = client(server, "ciba")
        val asked = client.backchannelAuthenticationBlocking("ann@example.com", "W4SCT", listOf("openid"), requestedExpiry = Duration.ofSeconds(90))
        val sent = fields(server.requests.single())
        assertEquals(listOf("ann@example.com", "W4SCT", "openid", "90"), listOf("login_hint", "binding_message", "scope", "requested_expiry").map(sent::get))
        assertEquals(Duration.ofSeconds(2), asked.interval)
        val polling = client.pollAsync(asked.session, "ann")
        clock.advance(2_000)
        assertEquals("T1", polling.get().accessToken)
        assertEquals("s3cret-id", fields(server.requests.last())["auth_req_id"])
    }

    @Test
    fun `a token is exchanged for what a function gives for the subject`() {
        val server = TestServer { completed(json(200, """{"access_token":"T1","token_type":"Bearer","expires_in":60,"issued_token_type":"$KIND"}""")) }
        val client = client(server, "token_exchange") { subjectToken { subject -> "token of $subject".replace(' ', '-') } }
        client.withSubject("ann").tokenBlocking()
        val sent = fields(server.requests.single())
        assertEquals(listOf("token-of-ann", KIND), listOf(sent["subject_token"], sent["subject_token_type"]))
    }

    @Test
    fun `a token is exchanged for one that was handed over`() {
        val server = TestServer { completed(json(200, """{"access_token":"T1","token_type":"Bearer","expires_in":60,"issued_token_type":"$KIND"}""")) }
        val client = client(server, "token_exchange") { variable("actor_token_type", "jwt") }
        client.withSubject("ann", subjectToken = "hers", actorToken = "ours").tokenBlocking()
        val sent = fields(server.requests.single())
        assertEquals(listOf("hers", "ours"), listOf(sent["subject_token"], sent["actor_token"]))
    }

    @Test
    fun `an assertion that a function gives is the grant`() {
        val server = TestServer()
        client(server, "jwt_bearer") { assertion { subject -> "eyJhIjoxfQ.$subject.c2ln" } }.withSubject("ann").tokenBlocking()
        val sent = fields(server.requests.single())
        assertEquals(listOf("urn:ietf:params:oauth:grant-type:jwt-bearer", "eyJhIjoxfQ.ann.c2ln"), listOf(sent["grant_type"], sent["assertion"]))
    }

    @Test
    fun `a file is read again each time, and one that is missing is named`() {
        val file = Files.createTempFile("token", ".jwt")
        val server = TestServer { completed(json(200, """{"access_token":"T1","token_type":"Bearer","expires_in":60,"issued_token_type":"$KIND"}""")) }
        try {
            val client = client(server, "token_exchange") { subjectTokenFile(file) }
            Files.writeString(file, "first\r\n")
            client.tokenBlocking()
            Files.writeString(file, "second\n")
            client.tokenBlocking(force = true)
            assertEquals(listOf("first", "second"), server.requests.map { fields(it)["subject_token"] })
        } finally {
            Files.delete(file)
        }
        val missing = client(server, "token_exchange") { subjectTokenFile(Path.of("no-such-file")) }
        val failed = missing.tokenAsync()
        repeat(31) { clock.advance(1_000) }
        val error = thrown<TransportException> { failed.awaitBlocking() }
        assertEquals("host_error", error.code)
        assertTrue("`no-such-file`" in error.message!!, error.message)
    }

    @Test
    fun `what a server knows about a token is told with every type that JSON has`() {
        val answer = """{"active":true,"sub":"\u00e4nn \"a\" \ud83d\ude00","exp":1700000000,"cnf":{"jkt":"x"},"aud":["a",null,false],"n":1.5,"big":123456789012345678901}"""
        val server = TestServer { completed(json(200, answer)) }
        val known = client(server, "client_credentials").introspectBlocking("t0ken", "access_token")
        assertEquals(listOf("t0ken", "access_token"), fields(server.requests.single()).run { listOf(this["token"], this["token_type_hint"]) })
        assertTrue(known.isActive)
        assertEquals(
            mapOf(
                "active" to true, "sub" to "änn \"a\" \uD83D\uDE00", "exp" to 1_700_000_000L, "cnf" to mapOf("jkt" to "x"),
                "aud" to listOf("a", null, false), "n" to 1.5.toBigDecimal(), "big" to "123456789012345678901".toBigDecimal(),
            ),
            known.claims,
        )
        assertFalse("nn" in known.toString(), known.toString())
    }

    @Test
    fun `a token that is revoked is forgotten here as well`() {
        val server = TestServer { request -> completed(if (request.url.endsWith("/revoke")) HttpResponse(200, mapOf(), ByteArray(0)) else token("T1")) }
        val client = client(server, "client_credentials")
        client.tokenBlocking()
        client.revokeBlocking()
        assertEquals("T1", fields(server.requests.last())["token"])
        assertNull(client.peek())
        client.revokeAsync("another", "refresh_token").get()
        assertEquals(listOf("another", "refresh_token"), fields(server.requests.last()).run { listOf(this["token"], this["token_type_hint"]) })
    }

    @Test
    fun `each resource has a token of its own`() {
        val server = TestServer()
        server.answer = { completed(token("T${server.count}")) }
        val client = client(server, "client_credentials")
        val (a, b) = client.withResource("https://a.example.com") to client.withResource("https://b.example.com").withScope("x")
        assertEquals(listOf("T1", "T2", "T3", "T2"), listOf(client, a, b, a).map { it.tokenBlocking().accessToken })
        assertEquals(listOf(null, "https://a.example.com", "https://b.example.com"), server.requests.map { fields(it)["resource"] })
    }

    @Test
    fun `an authorization request may have to be pushed first`() {
        val server = TestServer { completed(json(201, """{"request_uri":"urn:example:r1","expires_in":60}""")) }
        val client = client(server, "authorization_code") { variable("pushed_authorization", true).variable("redirect_uri", "https://app.example/cb") }
        val details = listOf(mapOf("type" to "payment", "amount" to 5))
        val authorization = client.authorizationUrlBlocking(authorizationDetails = details)
        assertTrue("request_uri=urn" in authorization.url, authorization.url)
        assertEquals("""[{"type":"payment","amount":5}]""", fields(server.requests.single())["authorization_details"])
        server.answer = { CompletableFuture() }
        val late = client.authorizationUrlAsync(timeout = Duration.ofSeconds(1))
        clock.advance(1_000)
        assertEquals("timeout", thrown<TransportException> { late.awaitBlocking() }.code)
    }

    private companion object {
        const val KIND = "urn:ietf:params:oauth:token-type:access_token"
        const val DEVICE = """{"device_code":"GmRhm","user_code":"WDJB-MJHT","verification_uri":"https://auth.example.com/activate",
            "verification_uri_complete":"https://auth.example.com/activate?c=WDJB-MJHT","expires_in":600,"interval":5}"""
        const val PROFILE = """{"name":"flows","title":"Flows","grants":["client_credentials","authorization_code","device_code","ciba","token_exchange","jwt_bearer"],
            "token":{"endpoint":"https://auth.example.com/token","client_auth":["client_secret_basic"]},
            "authorization":{"endpoint":"https://auth.example.com/authorize"},
            "endpoints":{"device_authorization":"https://auth.example.com/device","backchannel_authentication":"https://auth.example.com/bc",
            "pushed_authorization_request":"https://auth.example.com/par","introspection":"https://auth.example.com/introspect","revocation":"https://auth.example.com/revoke"},
            "api_origins":["https://api.example.com"]}"""
    }
}
