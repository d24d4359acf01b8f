package dev.remint.okhttp

import dev.remint.Builder
import dev.remint.RemintException
import dev.remint.adapters.Lane
import java.util.concurrent.TimeUnit
import okhttp3.Cache
import okhttp3.Call
import okhttp3.Callback
import okhttp3.Dispatcher
import okhttp3.Interceptor
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.Response
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Tag
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.io.TempDir
import java.io.IOException
import java.nio.file.Path
import java.time.Duration
import java.util.concurrent.CompletableFuture

@Tag("authority")
@Timeout(120)
class OkHttpTransportTest {
    private val lane = Lane()

    @Test
    fun `token requests go over OkHttp`() {
        for (provider in listOf("phoenix-security", "phoenix-wallet")) {
            assertEquals(1, lane.client(provider) { http(OkHttpTransport(OkHttpClient())) }.tokenBlocking().generation)
        }
    }

    @Test
    fun `each failure is told as what it is after one request`() {
        for ((fault, code) in listOf(
            """{"body_bytes":5000000}""" to "answer_too_large",
            """{"redirect":"${lane.otherUrl("echo")}"}""" to "unexpected_answer",
            """{"cut":"before"}""" to "transport_failed",
            """{"cut":"mid_body"}""" to "transport_failed",
            """{"hold":true}""" to "timeout",
            """{"status":408}""" to "server_unavailable",
            """{"status":503,"retry_after":"0"}""" to "server_unavailable",
            """{"error":"invalid_scope"}""" to "invalid_scope",
        )) {
            for (provider in listOf("phoenix-security", "phoenix-wallet")) {
                val lane = Lane()
                lane.fault(fault.replace("{", """{"endpoint":"token","count":null,"""))
                val refused = lane.refused(provider) { http(OkHttpTransport(OkHttpClient())) }
                assertEquals(code to 1, refused.code to lane.tokenRequests(), "$provider $fault")
                assertEquals(0, this.lane.count("echo", "total"), "the redirect was followed")
            }
        }
    }

    @Test
    fun `a server that is not there was sent nothing`() {
        val refused = lane.refused("phoenix-wallet") {
            http(OkHttpTransport(OkHttpClient()))
            variable("token_endpoint", "http://127.0.0.1:9/token")
        }
        assertEquals("transport_failed", refused.code)
    }

    @Test
    fun `how long the server asks to wait reaches the core`() {
        lane.fault("""{"endpoint":"token","status":503,"retry_after":"7"}""")
        val refused = lane.refused("phoenix-wallet") { http(OkHttpTransport(OkHttpClient())) }
        assertEquals(7, refused.retryAfter!!.plusMillis(500).toSeconds())
    }

    @Test
    fun `nothing of the client's own sees a token request`(@TempDir folder: Path) {
        val seen = mutableListOf<String>()
        val spy = Interceptor { chain -> chain.proceed(chain.request()).also { seen += chain.request().method } }
        val client = OkHttpClient.Builder().addInterceptor(spy).addNetworkInterceptor(spy).cache(Cache(folder.toFile(), 1_000_000)).build()
        lane.client { http(OkHttpTransport(client)) }.tokenBlocking()
        assertEquals(emptyList<String>(), seen)
        assertEquals(0, client.cache!!.requestCount())
        assertEquals(1, lane.tokenRequests())
    }

    @Test
    fun `calls that wait for a token leave a slot for its request`() {
        val plain = OkHttpClient.Builder().dispatcher(Dispatcher().apply { maxRequestsPerHost = 1 }).build()
        val http = plain.newBuilder().remint(lane.client { http(OkHttpTransport(plain)) }).build()
        val answers = List(20) {
            val answer = CompletableFuture<Int>()
            http.newCall(Request.Builder().url(lane.api).build()).enqueue(object : Callback {
                override fun onResponse(call: Call, response: Response) = response.use { answer.complete(it.code); Unit }

                override fun onFailure(call: Call, e: IOException) {
                    answer.completeExceptionally(e)
                }
            })
            answer
        }
        assertEquals(List(20) { 200 }, answers.map { it.get(30, TimeUnit.SECONDS) })
        assertEquals(1, lane.tokenRequests())
    }

    private fun Lane.refused(provider: String, configure: Builder.() -> Unit): RemintException =
        assertThrows(RemintException::class.java) {
            client(provider) {
                policy(mapOf("attempts" to 1))
                requestTimeout(Duration.ofSeconds(2))
                configure()
            }.tokenBlocking()
        }
}
