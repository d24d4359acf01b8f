package dev.remint.adapters

import dev.remint.Client
import dev.remint.RemintException
import java.time.Duration
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test

/** What every adapter does with tokens that are bound to a key (RFC 9449), and with an API that wants more of the person (RFC 9470). */
abstract class PossessionContract {
    /** The library under test, with redirects followed. */
    protected abstract fun caller(client: Client): Caller

    /** How the library hands on what an interceptor throws. */
    protected open fun ours(thrown: Throwable): RemintException = assertInstanceOf(RemintException::class.java, thrown)

    protected fun Client.call(url: String, method: String = "GET", body: Body? = null): Answer =
        caller(this).use { it.start(method, url, body).await() }

    private fun claims(server: ProvingServer, name: String) = server.arrived.map { it.claims?.get(name)?.jsonPrimitive?.content }

    @Test
    fun `each request has a proof of its own`() = ProvingServer().use { server ->
        val client = server.client()
        assertEquals(listOf(200, 200), List(2) { client.call("${server.origin}/a?b=c", "POST", Body("x")).status })
        assertEquals(listOf("DPoP T1", "DPoP T1"), server.arrived.map { it.authorization })
        assertEquals(listOf("${server.origin}/a", "${server.origin}/a"), claims(server, "htu"))
        assertEquals(listOf("POST", "POST"), claims(server, "htm"))
        assertEquals(2, claims(server, "jti").toSet().size)
    }

    @Test
    fun `a proof that wants a nonce is made anew and the body sent again`() = ProvingServer().use { server ->
        val client = server.client()
        server.nonce = "n1"
        assertEquals(200, client.call("${server.origin}/a", "POST", Body("once more")).status)
        assertEquals(listOf(null, "n1"), claims(server, "nonce"))
        assertEquals(listOf("once more", "once more"), server.arrived.map { it.body })
        // From here on it is known.
        assertEquals(200, client.call("${server.origin}/b").status)
        assertEquals(3, server.arrived.size)
    }

    @Test
    fun `an API that refuses every proof is asked twice and no more`() = ProvingServer().use { server ->
        server.nonce = "n1"
        server.told = "n2"
        assertEquals(401, server.client().call("${server.origin}/a").status)
        assertEquals(listOf(null, "n2"), claims(server, "nonce"))
    }

    @Test
    fun `a redirect within the origin gets a proof of its own`() = ProvingServer().use { server ->
        assertEquals(200, server.client().call("${server.origin}/a?to=/b", "POST", Body("x")).status)
        assertEquals(listOf("${server.origin}/a", "${server.origin}/b"), claims(server, "htu"))
        assertEquals(2, claims(server, "jti").toSet().size)
    }

    @Test
    fun `on a redirect to another origin token and proof are taken off`() = ProvingServer().use { server ->
        ProvingServer().use { other ->
            assertEquals(200, server.client().call("${server.origin}/a?to=${other.origin}/b").status)
            assertNull(other.arrived.single().authorization)
            assertNull(other.arrived.single().claims)
        }
    }

    @Test
    fun `an API that wants more of the person says what`() = ProvingServer().use { server ->
        val refused = ours(assertThrows(Throwable::class.java) { server.client().call("${server.origin}/step-up") })
        assertEquals(listOf("insufficient_user_authentication", "gold", Duration.ofMinutes(1)), listOf(refused.code, refused.acrValues, refused.maxAge))
        assertEquals(1, server.arrived.size)
    }
}
