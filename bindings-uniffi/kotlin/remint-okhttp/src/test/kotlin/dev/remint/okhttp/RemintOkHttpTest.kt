package dev.remint.okhttp

import dev.remint.Client
import dev.remint.RemintException
import dev.remint.adapters.AdapterContract
import dev.remint.adapters.Answer
import dev.remint.adapters.Body
import dev.remint.adapters.Caller
import dev.remint.adapters.Pending
import java.io.IOException
import java.io.InterruptedIOException
import java.util.concurrent.CompletableFuture
import java.util.concurrent.TimeUnit
import okhttp3.Call
import okhttp3.Callback
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.RequestBody
import okhttp3.RequestBody.Companion.toRequestBody
import okhttp3.Response
import okhttp3.WebSocket
import okhttp3.WebSocketListener
import okio.BufferedSink
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class RemintOkHttpTest : AdapterContract() {
    override fun caller(client: Client): Caller = OkHttpCaller(OkHttpClient.Builder().remint(client).build())

    override fun ours(thrown: Throwable): RemintException = assertInstanceOf(RemintIOException::class.java, thrown).cause

    @Test
    fun `what fails a call in the dispatcher is told to its callback and crashes no thread`() {
        val crashes = CompletableFuture<Throwable>()
        val before = Thread.getDefaultUncaughtExceptionHandler()
        Thread.setDefaultUncaughtExceptionHandler { _, e -> crashes.complete(e) }
        try {
            caller(lane.client()).use { caller ->
                val refused = assertThrows(IOException::class.java) { caller.start("GET", lane.otherUrl("echo"), null).await() }
                assertEquals("origin_not_allowed", ours(refused).code)
            }
            assertTrue(!crashes.isDone)
        } finally {
            Thread.setDefaultUncaughtExceptionHandler(before)
        }
    }

    @Test
    fun `a call's own timeout ends it while it waits for a token`() {
        lane.fault("""{"endpoint":"token","hold":true}""")
        val http = OkHttpClient.Builder().remint(lane.client()).callTimeout(200, TimeUnit.MILLISECONDS).build()
        assertThrows(InterruptedIOException::class.java) { http.newCall(Request.Builder().url(lane.api).build()).execute() }
        lane.control("POST", "release", "{}")
        assertEquals(0, lane.count("api", "total"))
    }

    @Test
    fun `a thread that is interrupted stops waiting and stays interrupted`() {
        lane.fault("""{"endpoint":"token","hold":true}""")
        val http = OkHttpClient.Builder().remint(lane.client()).build()
        Thread.currentThread().interrupt()
        assertThrows(InterruptedIOException::class.java) { http.newCall(Request.Builder().url(lane.api).build()).execute() }
        assertTrue(Thread.interrupted())
        lane.control("POST", "release", "{}")
    }

    @Test
    fun `a web socket gets the token where OkHttp itself takes it off on redirects and nothing elsewhere`() {
        assertTrue(failureOfSocket(lane.client(), lane.api)!!.message!!.contains("101"))
        assertTrue("authorization" in lane.log().last().getValue("header_names").toString())
        assertTrue(failureOfSocket(lane.client("personify"), lane.url("personify/v1/x"))!!.message!!.contains("web socket"))
    }

    private fun failureOfSocket(client: Client, url: String): Throwable? {
        val failure = CompletableFuture<Throwable>()
        val listener = object : WebSocketListener() {
            override fun onFailure(webSocket: WebSocket, t: Throwable, response: Response?) {
                failure.complete(t)
            }
        }
        OkHttpClient.Builder().remint(client).build().newWebSocket(Request.Builder().url(url).build(), listener)
        return failure.get(30, TimeUnit.SECONDS)
    }
}

private class OkHttpCaller(private val http: OkHttpClient) : Caller {
    override fun start(method: String, url: String, body: Body?): Pending {
        val content = body?.run { if (onlyOnce) OnlyOnce(text) else text.toRequestBody() }
        val call = http.newCall(Request.Builder().url(url).method(method, content).build())
        val answer = CompletableFuture<Answer>()
        call.enqueue(object : Callback {
            override fun onResponse(call: Call, response: Response) = response.use { answer.complete(Answer(it.code, it.body!!.string())); Unit }

            override fun onFailure(call: Call, e: IOException) {
                answer.completeExceptionally(e)
            }
        })
        return Pending(answer, call::cancel)
    }

    override fun close() {
        http.dispatcher.executorService.shutdown()
        http.connectionPool.evictAll()
    }
}

private class OnlyOnce(private val text: String) : RequestBody() {
    override fun contentType() = null

    override fun isOneShot() = true

    override fun writeTo(sink: BufferedSink) {
        sink.writeUtf8(text)
    }
}
