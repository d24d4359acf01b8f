package dev.remint

import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.json
import dev.remint.TestServer.Companion.token
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.net.URI
import java.net.URLDecoder
import java.time.Duration
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.CountDownLatch

@Timeout(120)
class CodeFlowTest {
    private val clock = TestClock()
    private val server = TestServer { completed(token("T1", more = ""","refresh_token":"R1"""")) }
    private val client = Client("rapidomize", "app-7", "s3cret") {
        variable("tokenEndpoint", "https://auth.example.com/token")
        variable("authorizationEndpoint", "https://auth.example.com/authorize")
        variable("redirectUri", "https://app.example.com/callback")
        apiOrigins("https://api.example.com")
        http(server)
        clock(clock)
    }

    private fun parameters(url: String): Map<String, String> = URI(url).rawQuery.split('&').associate {
        val (name, value) = it.split('=', limit = 2)
        name to URLDecoder.decode(value, Charsets.UTF_8)
    }

    @Test
    fun `the browser goes out with state and PKCE, and the code comes back as a token`() = runBlocking {
        val (url, session) = client.authorizationUrl(scope = listOf("a b"), parameters = mapOf("prompt" to "login")).let { it.url to it.session }
        val sent = parameters(url)
        assertEquals("code", sent["response_type"])
        assertEquals("S256", sent["code_challenge_method"])
        assertEquals("a b", sent["scope"])
        assertEquals("login", sent["prompt"])
        val saved = ConcurrentLinkedQueue<Pair<String, String?>>()
        val token = client.exchange("?code=c%2B1&state=${sent["state"]}", session, "alice", { refreshToken, subject -> saved += refreshToken to subject })
        assertEquals("T1", token.accessToken)
        assertEquals(listOf<Pair<String, String?>>("R1" to "alice"), saved.toList())
        val body = server.requests.single().body!!.decodeToString()
        assertTrue("grant_type=authorization_code" in body && "code=c%2B1" in body && "code_verifier=" in body)
        assertEquals("T1", client.withSubject("alice").token().accessToken)
        assertEquals(1, server.count)
    }

    @Test
    fun `a callback may be the parameters that a web framework has`() {
        val authorization = client.authorizationUrlBlocking()
        val state = parameters(authorization.url).getValue("state")
        assertEquals("T1", client.exchangeBlocking(mapOf("code" to listOf("c 1&"), "state" to listOf(state)), authorization.session).accessToken)
        assertTrue("code=c+1%26" in server.requests.single().body!!.decodeToString())
    }

    @Test
    fun `a callback that is not ours, or says no, is refused before anything is sent`() {
        val authorization = client.authorizationUrlBlocking()
        val state = parameters(authorization.url).getValue("state")
        assertEquals("state_mismatch", thrown<ServerException> { client.exchangeBlocking("?code=c&state=other", authorization.session) }.code)
        assertEquals("access_denied", thrown<ServerException> { client.exchangeBlocking("?error=access_denied&state=$state", authorization.session) }.code)
        val twice = mapOf("code" to listOf("a", "b"), "state" to listOf(state))
        assertTrue(runCatching { client.exchangeBlocking(twice, authorization.session) }.exceptionOrNull() is RemintException)
        assertTrue(runCatching { client.exchangeBlocking("?code=c&state=$state", "garbage") }.exceptionOrNull() is RemintException)
        assertEquals(0, server.count)
    }

    @Test
    fun `the new refresh token is saved before the access token is handed out`() {
        server.answer = { completed(token("T2", more = ""","refresh_token":"R2"""")) }
        val mayReturn = CountDownLatch(1)
        val saved = ConcurrentLinkedQueue<String>()
        val alice = client.withSubject("alice", "R1") { refreshToken, _ ->
            mayReturn.await()
            saved += refreshToken
        }
        val caller = alice.tokenAsync()
        assertFalse(caller.isDone)
        mayReturn.countDown()
        assertEquals("T2", caller.get().accessToken)
        assertEquals(listOf("R2"), saved.toList())
        assertTrue("refresh_token=R1" in server.requests.single().body!!.decodeToString())
    }

    @Test
    fun `a function that suspends may save it, too`() {
        server.answer = { completed(token("T2", more = ""","refresh_token":"R2"""")) }
        val saved = ConcurrentLinkedQueue<String>()
        val save = OnRotated.suspending { refreshToken, subject ->
            delay(1)
            saved += "$subject:$refreshToken"
        }
        client.withSubject("alice", "R1", save).tokenBlocking()
        assertEquals(listOf("alice:R2"), saved.toList())
    }

    @Test
    fun `a refresh token that could not be saved is told`() {
        server.answer = { completed(token("T2", more = ""","refresh_token":"R2"""")) }
        val failure = IllegalStateException("the database is down")
        val alice = client.withSubject("alice", "R1") { _, _ -> throw failure }
        val outcome = runCatching { alice.tokenBlocking(timeout = Duration.ofSeconds(5)) }
        val error = outcome.exceptionOrNull()
        if (error != null) {
            assertTrue(error is TransportException, error.toString())
            assertSame(failure, error.cause)
        }
    }

    @Test
    fun `a refresh token that is refused asks for the person again`() {
        server.answer = { completed(json(400, """{"error":"invalid_grant"}""")) }
        val error = thrown<ServerException> { client.withSubject("alice", "R1").tokenBlocking() }
        assertEquals("invalid_grant", error.code)
        assertFalse(error.isAmbiguous)
        assertEquals("reauthorization_required", thrown<ServerException> { client.withSubject("bob").tokenBlocking() }.code)
    }
}
