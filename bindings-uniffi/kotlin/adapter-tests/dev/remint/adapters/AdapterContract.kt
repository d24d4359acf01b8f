package dev.remint.adapters

import dev.remint.Client
import dev.remint.Notice
import dev.remint.ServerException
import dev.remint.UsageException
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.ExecutionException
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Tag
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

/** One HTTP library with a client's token on its calls. */
interface Caller : AutoCloseable {
    fun start(method: String, url: String, body: Body?): Pending
}

/** A call on its way. */
class Pending(private val answer: CompletableFuture<Answer>, private val cancelling: () -> Unit) {
    fun cancel(): Unit = cancelling()

    fun await(): Answer = try {
        answer.get(30, TimeUnit.SECONDS)
    } catch (e: ExecutionException) {
        throw e.cause ?: e
    }
}

class Body(val text: String, val onlyOnce: Boolean = false)

class Answer(val status: Int, private val text: String) {
    val json: JsonObject by lazy { Json.parseToJsonElement(text).jsonObject }
    val tokenNumber: Int get() = json.getValue("token_number").jsonPrimitive.int
}

/** What every adapter does. */
@Tag("authority")
@Timeout(120)
abstract class AdapterContract : PossessionContract() {
    protected val lane: Lane = Lane()

    @Test
    fun `what each provider wants is on the request`() {
        for (provider in listOf("phoenix-security", "phoenix-wallet", "phoenix-market", "personify", "rapidomize")) {
            val client = if (provider == "rapidomize") lane.user() else lane.client(provider)
            val answers = List(2) { client.call(lane.url("$provider/v1/wallets")) }
            assertEquals(listOf(200, 200), answers.map { it.status }, provider)
            assertEquals(listOf("bearer", "bearer"), answers.map { it.json.text("credential") }, provider)
            assertEquals(1, answers.map { it.json.text("token_sha256") }.toSet().size, provider)
        }
    }

    @Test
    fun `a revoked token is replaced once and the body sent again`() {
        val client = lane.client()
        client.call(lane.api)
        lane.revoke()
        val answer = client.call(lane.api, "POST", Body("x".repeat(20_000)))
        assertEquals(listOf(200, 2, 20_000), listOf(answer.status, answer.tokenNumber, answer.json.text("body_bytes").toInt()))
        assertEquals(
            listOf("token 200", "api 200", "api 401", "token 200", "api 200"),
            lane.log().map { "${it.text("kind")} ${it.text("status")}" },
        )
    }

    @Test
    open fun `a body that can be sent only once is not repeated and that is said`() {
        val notices = CopyOnWriteArrayList<Notice>()
        val client = lane.client { onNotice(notices::add) }
        client.call(lane.api)
        lane.revoke()
        assertEquals(401, client.call(lane.api, "POST", Body("once", onlyOnce = true)).status)
        assertTrue(notices.any { it.name == "body_not_replayable" })
        // The refused token is gone all the same.
        assertEquals(2, client.call(lane.api, "POST", Body("again")).tokenNumber)
    }

    @Test
    fun `an API that refuses a new token has its 401 handed on`() {
        lane.fault("""{"endpoint":"api","status":401,"count":null}""")
        assertEquals(401, lane.client().call(lane.api).status)
        assertEquals(listOf(1, 1), listOf(lane.tokenRequests(), lane.count("api", "total")))
    }

    @Test
    fun `an API that refuses every token is asked twice and no more`() {
        val client = lane.client()
        client.call(lane.api)
        lane.fault("""{"endpoint":"api","status":401,"count":null}""")
        assertEquals(List(5) { 401 }, List(5) { client.call(lane.api).status })
        assertEquals(2, lane.tokenRequests())
        assertEquals(7, lane.count("api", "total"))
    }

    @Test
    fun `insufficient scope is the caller's`() {
        val client = lane.client()
        client.call(lane.api)
        lane.fault("""{"endpoint":"api","status":401,"headers":{"WWW-Authenticate":"Bearer error=\"insufficient_scope\""}}""")
        assertEquals(401, client.call(lane.api).status)
        assertEquals(1, client.call(lane.api).tokenNumber)
        assertEquals(1, lane.tokenRequests())
    }

    @Test
    fun `other errors of the API are the caller's`() {
        lane.fault("""[{"endpoint":"api","status":403},{"endpoint":"api","status":500}]""")
        val client = lane.client()
        assertEquals(listOf(403, 500, 200), List(3) { client.call(lane.api).status })
        assertEquals(1, lane.tokenRequests())
    }

    @Test
    fun `on a redirect to another origin every header of ours is taken off`() {
        for (options in listOf(emptyMap(), mapOf("auth_header" to "Authorization"))) {
            val client = lane.user { options.forEach(::variable) }
            assertNothingOfOurs(client.call(lane.redirect(lane.otherUrl("echo"), "rapidomize")))
        }
        assertNothingOfOurs(lane.client("personify").call(lane.redirect(lane.otherUrl("echo"), "personify")))
    }

    @Test
    fun `a redirect within the origin keeps the token`() {
        val answer = lane.client().call(lane.redirect(lane.api))
        assertEquals(listOf(200, 1), listOf(answer.status, answer.tokenNumber))
    }

    @Test
    fun `a token that is refused after a redirect is replaced`() {
        val client = lane.client()
        client.call(lane.api)
        lane.fault("""{"endpoint":"api","skip":1,"status":401}""")
        assertEquals(2, client.call(lane.redirect(lane.api)).tokenNumber)
    }

    @Test
    fun `after a detour the token stays off`() {
        val client = lane.user()
        val there = """{"endpoint":"api","redirect":"${lane.otherUrl("rapidomize/v1/x")}"}"""
        val back = """{"endpoint":"api","redirect":"${lane.url("echo")}"}"""
        lane.fault("[$there,$back]")
        assertNothingOfOurs(client.call(lane.url("rapidomize/v1/x")))
        assertEquals(2, lane.count("api", "total"))
    }

    @Test
    fun `a token is put on no undeclared origin`() {
        val refused = ours(assertThrows(Throwable::class.java) { lane.client().call(lane.otherUrl("echo")) })
        assertInstanceOf(UsageException::class.java, refused)
        assertEquals("origin_not_allowed", refused.code)
        assertEquals(0, lane.count("echo", "total"))
    }

    @Test
    fun `two hosts of one API share the token and see it on their own calls alone`() {
        val client = lane.client { apiOrigins(lane.origin, lane.otherOrigin) }
        val other = lane.otherUrl("phoenix-wallet/v1/wallets")
        assertEquals(listOf(1, 1), listOf(lane.api, other).map { client.call(it).tokenNumber })
        assertEquals(401, client.call(lane.redirect(other)).status)
        assertEquals(1, lane.tokenRequests())
    }

    @Test
    fun `a failed token request is our error and no request is sent`() {
        lane.fault("""{"endpoint":"token","error":"invalid_client","count":null}""")
        val refused = ours(assertThrows(Throwable::class.java) { lane.client().call(lane.api) })
        assertInstanceOf(ServerException::class.java, refused)
        assertEquals("invalid_client", refused.code)
        assertEquals(0, lane.count("api", "total"))
    }

    @Test
    fun `a cancelled call leaves the flight to the others`() {
        lane.fault("""{"endpoint":"token","hold":true}""")
        caller(lane.client()).use { caller ->
            val first = caller.start("GET", lane.api, null)
            lane.awaitTokenRequest()
            val second = caller.start("GET", lane.api, null)
            first.cancel()
            val thrown = assertThrows(Throwable::class.java) { first.await() }
            assertFalse(thrown is TimeoutException, "it went on waiting")
            lane.control("POST", "release", "{}")
            assertEquals(listOf(200, 1), second.await().let { listOf(it.status, it.tokenNumber) })
        }
        assertEquals(listOf(1, 1), listOf(lane.tokenRequests(), lane.count("api", "total")))
    }

    private fun assertNothingOfOurs(answer: Answer) {
        assertEquals(200, answer.status)
        val names = answer.json.texts("header_names").map { it.lowercase() }
        assertEquals(emptyList<String>(), names.filter { it in setOf("authorization", "x-rpz-auth", "x-tenant-id") })
    }
}
