package dev.remint

import dev.remint.TestServer.Companion.completed
import dev.remint.TestServer.Companion.json
import dev.remint.TestServer.Companion.token
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import java.util.concurrent.atomic.AtomicInteger

@Timeout(120)
class ApiCallTest {
    private val count = AtomicInteger()
    private val server = TestServer { completed(token("T${count.incrementAndGet()}")) }
    private val notices = Notices()
    private val clock = TestClock()
    private val client = client(server, clock) { onNotice(notices) }
    private val url = "https://api.phoenixwallet.io/v1/wallets"

    @Test
    fun `a request that is refused is repeated once, with another token`() = runBlocking {
        client.token()
        val call = ApiCall(client)
        assertEquals(mapOf("Authorization" to "Bearer T1"), call.attach("GET", url))
        assertTrue(call.answered(url, 401, mapOf("WWW-Authenticate" to listOf("Bearer error=\"invalid_token\""))))
        assertEquals(mapOf("Authorization" to "Bearer T2"), call.attach("GET", url))
        assertFalse(call.answered(url, 401, emptyMap()))
        assertEquals(2, server.count)
    }

    @Test
    fun `a repetition that finds another caller's new token is still the last`() = runBlocking {
        client.token()
        val (first, second) = List(2) { ApiCall(client).apply { attachBlocking("GET", url) } }
        assertTrue(first.answered(url, 401, emptyMap()))
        assertTrue(second.answered(url, 401, emptyMap()))
        assertEquals("Bearer T2", first.attach("GET", url)["Authorization"])
        assertEquals("Bearer T2", second.attach("GET", url)["Authorization"])
        assertFalse(second.answered(url, 401, emptyMap()))
        assertEquals(2, server.count)
    }

    @Test
    fun `a token that was minted in this very call is not asked for again`() {
        val call = ApiCall(client)
        call.attachBlocking("GET", url)
        assertFalse(call.answered(url, 401, emptyMap()))
        assertEquals(1, server.count)
    }

    @Test
    fun `no other token helps against insufficient_scope`() = runBlocking {
        client.token()
        val call = ApiCall(client)
        call.attach("GET", url)
        assertFalse(call.answered(url, 401, mapOf("www-authenticate" to listOf("Bearer error=\"insufficient_scope\""))))
    }

    @Test
    fun `an API that always says 401 does not cost a token request per call`() = runBlocking {
        client.token()
        repeat(20) {
            val call = ApiCall(client)
            call.attach("GET", url)
            if (call.answered(url, 401, emptyMap())) {
                call.attach("GET", url)
                call.answered(url, 401, emptyMap())
            }
        }
        assertTrue(server.count <= 3, "${server.count} token requests")
    }

    @Test
    fun `an answer other than 401 ends the count of refusals`() = runBlocking {
        client.token()
        repeat(3) {
            val call = ApiCall(client)
            call.attach("GET", url)
            assertTrue(call.answered(url, 401, emptyMap()))
            call.attach("GET", url)
            assertFalse(call.answered(url, 200, emptyMap()))
        }
        assertEquals(4, server.count)
    }

    @Test
    fun `no token leaves for an origin that nobody declared, and none is asked for in its name`() {
        for (other in listOf("https://api.phoenixwallet.io.evil.example/", "http://api.phoenixwallet.io/", "not a URL", "")) {
            assertEquals("origin_not_allowed", thrown<UsageException> { ApiCall(client).attachBlocking("GET", other) }.code)
        }
    }

    @Test
    fun `a token that is withdrawn while the request is prepared is replaced`() = runBlocking {
        client.token()
        val stale = client.view.lease
        client.invalidate()
        // As if the other thread had looked at the lease before it was withdrawn.
        client.view.lease = Lease(stale.token, stale.generation).apply {
            recheck = Long.MAX_VALUE
            recheckWall = Long.MAX_VALUE
        }
        assertEquals(mapOf("Authorization" to "Bearer T2"), client.headers("GET", url))
    }

    @Test
    fun `a caller who leaves while a token is on its way leaves no waiting behind`() {
        val answer = java.util.concurrent.CompletableFuture<HttpResponse>()
        server.answer = { answer }
        val headers = client.headersAsync("GET", url)
        headers.cancel(true)
        answer.complete(json(503, "{}"))
        clock.advance(60_000)
        assertEquals(1, server.count)
        assertEquals(0, clock.pending)
    }

    @Test
    fun `a body that can be sent only once is told by a notice`() {
        ApiCall(client).cannotBeRepeated()
        assertEquals(listOf("body_not_replayable"), notices.all.toList())
    }

    @Test
    fun `an answer without a request is refused`() {
        assertEquals("invalid_option", thrown<UsageException> { ApiCall(client).answered(url, 401, emptyMap()) }.code)
    }

    @Test
    fun `a token in a URL comes with headers that keep it out of caches, where the profile provides for it`() = runBlocking {
        val market = Client("rapidomize", "app-7") {
            variable("grant", "api_token")
            apiToken("k3y")
            variable("tokenEndpoint", "https://auth.example.com/token")
            variable("authorizationEndpoint", "https://auth.example.com/authorize")
            apiOrigins("https://api.example.com")
        }
        val insecure = market.insecureUrl("https://api.example.com/page?a=1")
        assertTrue("token=" in insecure.url && insecure.url.startsWith("https://api.example.com/page?a=1&"), "another URL")
        assertEquals("no-store", insecure.headers["cache-control"])
        assertEquals("usage", thrown<UsageException> { client.insecureUrlBlocking(url) }.family)
    }
}
