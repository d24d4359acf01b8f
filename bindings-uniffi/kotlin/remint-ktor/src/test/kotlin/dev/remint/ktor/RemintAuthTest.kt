package dev.remint.ktor

import dev.remint.Client
import dev.remint.adapters.AdapterContract
import dev.remint.adapters.Answer
import dev.remint.adapters.Body
import dev.remint.adapters.Caller
import dev.remint.adapters.Pending
import io.ktor.client.HttpClient
import io.ktor.client.HttpClientConfig
import io.ktor.client.engine.cio.CIO
import io.ktor.client.engine.java.Java
import io.ktor.client.plugins.HttpRedirect
import io.ktor.client.plugins.HttpRequestRetry
import io.ktor.client.request.request
import io.ktor.client.request.setBody
import io.ktor.client.statement.bodyAsText
import io.ktor.http.HttpMethod
import io.ktor.utils.io.ByteReadChannel
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.future.future
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Tag
import org.junit.jupiter.api.Test

/** With the plugin inside of the one that follows redirects, as Ktor has it. */
class RemintAuthTest : AdapterContract() {
    override fun caller(client: Client): Caller = KtorCaller(
        HttpClient(CIO) {
            install(RemintAuth) { this.client = client }
            install(HttpRedirect) { checkHttpMethod = false }
        },
    )

    @Test
    fun `Ktor's own repetition of a request has the token on it, too`() {
        for (isOurs in listOf(true, false)) {
            lane.fault("""[{"endpoint":"api","status":401},{"endpoint":"api","status":503}]""")
            val client = lane.client()
            client.tokenBlocking()
            val http = HttpClient(CIO) {
                if (isOurs) install(RemintAuth) { this.client = client }
                install(HttpRequestRetry) {
                    retryOnServerErrors(1)
                    constantDelay(1)
                }
                if (!isOurs) install(RemintAuth) { this.client = client }
            }
            assertEquals(200, KtorCaller(http).use { it.start("GET", lane.api, null).await() }.status)
        }
    }
}

/** With a plugin that follows redirects inside of this one, and another engine. */
class RemintAuthAroundRedirectsTest : AdapterContract() {
    override fun caller(client: Client): Caller = KtorCaller(
        HttpClient(Java) {
            followRedirects = false
            install(RemintAuth) { this.client = client }
            install(HttpRedirect) { checkHttpMethod = false }
        },
    )
}

class RemintAuthConfigTest {
    @Test
    fun `a plugin without a client says what is missing`() {
        val refused = assertThrows(IllegalArgumentException::class.java) { HttpClient(CIO) { install(RemintAuth) } }
        assertTrue(refused.message!!.contains("client = "))
    }
}

private class KtorCaller(private val http: HttpClient) : Caller {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)

    override fun start(method: String, url: String, body: Body?): Pending {
        val answer = scope.future {
            val response = http.request(url) {
                this.method = HttpMethod(method)
                body?.run { setBody(if (onlyOnce) ByteReadChannel(text) else text) }
            }
            Answer(response.status.value, response.bodyAsText())
        }
        return Pending(answer) { answer.cancel(true) }
    }

    override fun close() {
        scope.cancel()
        http.close()
    }
}
