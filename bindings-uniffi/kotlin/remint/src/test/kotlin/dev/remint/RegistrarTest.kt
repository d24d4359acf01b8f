package dev.remint

import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.json
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.net.ConnectException
import java.net.SocketException
import java.time.Duration
import java.time.Instant
import java.util.concurrent.CompletableFuture

/** A client that registers itself (RFC 7591), and is looked after (RFC 7592). */
@Timeout(60)
class RegistrarTest {
    private fun registrar(server: Transport, profile: String = PROFILE, configure: Builder.() -> Unit = {}) = Registrar(profile) {
        http(server)
        configure()
    }

    private val HttpRequest.text get() = body?.decodeToString()

    @Test
    fun `a client registers itself, and is read, replaced and deleted with what the server gave for that`() = runBlocking {
        val answers = ArrayDeque(listOf(json(201, INFORMATION), json(200, INFORMATION), json(200, OTHER), HttpResponse(204, mapOf(), ByteArray(0))))
        val server = TestServer { completed(answers.removeFirst()) }
        val registrar = registrar(server)
        val metadata = mapOf("client_name" to "Zürich", "grant_types" to listOf("client_credentials"))
        val client = registrar.register(RegistrationRequest.Register(metadata, "canary-initial"))!!
        assertEquals(listOf("c1", "canary-secret", "canary-access", "$BASE/clients/c1"), client.run { listOf(clientId, clientSecret, registrationAccessToken, registrationClientUri) })
        assertEquals(Instant.ofEpochSecond(1_700_000_000), client.clientIdIssuedAt)
        assertNull(client.clientSecretExpiresAt)
        assertEquals(mapOf("client_name" to "Zürich", "default_max_age" to 5L), client.metadata)
        assertEquals("c1", registrar.register(RegistrationRequest.Read(client))!!.clientId)
        assertEquals("Other", registrar.registerBlocking(RegistrationRequest.Update(client, mapOf("client_name" to "Other")))!!.metadata["client_name"])
        assertNull(registrar.registerAsync(RegistrationRequest.Delete(client)).get())

        val sent = server.requests.toList()
        assertEquals(listOf("POST $BASE/register", "GET $BASE/clients/c1", "PUT $BASE/clients/c1", "DELETE $BASE/clients/c1"), sent.map { "${it.method} ${it.url}" })
        assertEquals(listOf("Bearer canary-initial") + List(3) { "Bearer canary-access" }, sent.map { it.headers["authorization"] })
        assertEquals("""{"client_name":"Zürich","grant_types":["client_credentials"]}""", sent[0].text)
        assertEquals("""{"client_name":"Other","client_id":"c1","client_secret":"canary-secret"}""", sent[2].text)
        assertTrue(sent.all { it.timeout == Duration.ofSeconds(10) && it.cap == 262_144L })
    }

    @Test
    fun `where the endpoint is in the server's metadata, that is read first, at its second address if need be`() {
        val profile = """{"name":"s","title":"S","grants":["client_credentials"],"token":{},"discovery":{"issuer":"$BASE"}}"""
        val server = TestServer {
            completed(
                when {
                    it.method == "POST" -> json(201, INFORMATION)
                    it.url.endsWith("openid-configuration") -> json(200, """{"issuer":"$BASE","token_endpoint":"$BASE/t","registration_endpoint":"$BASE/r"}""")
                    else -> json(404, "{}")
                },
            )
        }
        val registrar = registrar(server, profile) {
            requestTimeout(Duration.ofSeconds(3))
            policy(mapOf("answerCap" to 4096))
        }
        assertEquals("c1", registrar.registerBlocking(RegistrationRequest.Register("{}"))!!.clientId)
        assertEquals(listOf("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/r"), server.requests.map { it.url.removePrefix(BASE) })
        assertTrue(server.requests.all { it.timeout == Duration.ofSeconds(3) && it.cap == 4096L })
    }

    @Test
    fun `what the server refuses, and what does not arrive, is a typed error without a secret`() {
        fun failed(thrown: Throwable): CompletableFuture<HttpResponse> = CompletableFuture.failedFuture(thrown)
        for ((answer, code, isRetryable) in listOf(
            Triple({ completed(json(400, """{"error":"invalid_client_metadata","error_description":"canary"}""")) }, "invalid_client_metadata", false),
            Triple({ completed(json(401, "canary")) }, "invalid_client", false),
            Triple({ completed(json(503, "canary")) }, "server_unavailable", true),
            Triple({ completed(json(201, " ".repeat(300_000))) }, "answer_too_large", false),
            Triple({ failed(ConnectException("refused")) }, "transport_failed", true),
            Triple({ failed(SocketException("reset")) }, "transport_failed", false),
            Triple({ failed(TransportFailure(TransportFailure.Kind.TIMEOUT)) }, "timeout", false),
            Triple({ throw SocketException("reset") }, "transport_failed", false),
        )) {
            val request = RegistrationRequest.Register("""{"client_name":"canary"}""", "canary")
            val error = thrown<RemintException> { registrar(TestServer { answer() }).registerBlocking(request) }
            assertEquals(code to isRetryable, error.code to error.isRetryable)
            assertFalse("canary" in error.stackTraceToString(), error.stackTraceToString())
            assertFalse("initial_access_token" in error.message!!, error.message)
        }
    }

    @Test
    fun `nobody waits longer than the request may take, and whoever leaves takes it along`() {
        val clock = TestClock()
        val stages = List(2) { CompletableFuture<HttpResponse>() }
        val left = ArrayDeque(stages)
        val registrar = registrar(TestServer { left.removeFirst() }) {
            clock(clock)
            requestTimeout(Duration.ofSeconds(4))
        }
        val late = registrar.registerAsync(RegistrationRequest.Register("{}"))
        clock.advance(3_999)
        assertFalse(late.isDone)
        clock.advance(1)
        assertEquals("timeout", thrown<TransportException> { late.awaitBlocking() }.code)
        registrar.registerAsync(RegistrationRequest.Register("{}")).cancel(false)
        assertEquals(listOf(true, true), stages.map { it.isCancelled })
        assertEquals(0, clock.pending)
    }

    @Test
    fun `what is wrong is said before anything is sent`() {
        val server = TestServer()
        val registrar = registrar(server)
        val bare = RegisteredClient(dev.remint.core.ClientInformation("c1", null, null, null, null, null, "{}"))
        for (wrong in listOf<() -> Unit>(
            { registrar.registerBlocking(RegistrationRequest.Register("[]")) },
            { registrar.registerBlocking(RegistrationRequest.Register("{}", "line\nbreak")) },
            { registrar.registerBlocking(RegistrationRequest.Register("{}", "half \ud800")) },
            { registrar.registerBlocking(RegistrationRequest.Register(mapOf("client_id" to "mine"))) },
            { registrar.registerBlocking(RegistrationRequest.Update("$BASE/clients/c1", "t", "{}")) },
            { RegistrationRequest.Read(bare) },
            { registrar(server) { clientId("mine") } },
            { registrar(server) { clientSecret { "s3cret" } } },
            { registrar(server) { requestTimeout(Duration.ZERO) } },
            { registrar(server) { variable("requestTimeout", 5) } },
            { registrar(server, "phoenix-wallet").registerBlocking(RegistrationRequest.Register("{}")) },
        )) {
            assertEquals("invalid_option", thrown<UsageException> { wrong() }.code)
        }
        assertEquals(0, server.count)
    }

    private companion object {
        const val BASE = "https://auth.example.com"
        const val PROFILE = """{"name":"s","title":"S","grants":["client_credentials"],"token":{"endpoint":"$BASE/token"},"endpoints":{"registration":"$BASE/register"}}"""
        const val GIVEN = """"client_id":"c1","client_secret":"canary-secret","client_id_issued_at":1700000000,"client_secret_expires_at":0,""" +
            """"registration_access_token":"canary-access","registration_client_uri":"$BASE/clients/c1""""
        const val INFORMATION = """{$GIVEN,"client_name":"Zürich","default_max_age":5}"""
        const val OTHER = """{$GIVEN,"client_name":"Other"}"""
    }
}
