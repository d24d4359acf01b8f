package dev.remint.okhttp

import dev.remint.HttpRequest
import dev.remint.HttpResponse
import dev.remint.Transport
import dev.remint.TransportFailure
import java.io.IOException
import java.io.InterruptedIOException
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import okhttp3.Authenticator
import okhttp3.Call
import okhttp3.Callback
import okhttp3.CookieJar
import okhttp3.Dispatcher
import okhttp3.Interceptor
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.RequestBody.Companion.toRequestBody
import okhttp3.Response

/**
 * Sends token requests over OkHttp: `Client(profile, …) { http(OkHttpTransport(okHttpClient)) }`. On Android, which has no
 * `java.net.http`, a client needs one.
 *
 * It takes TLS, proxy, DNS, timeouts and connections from the given client. Redirects, retries, cache, cookies,
 * authenticator and interceptors are left off: a token request is sent exactly once, and nothing else sees it. It has
 * threads of its own, so that calls which wait for a token don't keep its request from being sent.
 */
public class OkHttpTransport(client: OkHttpClient) : Transport {
    private val client = client.newBuilder().apply {
        followRedirects(false).followSslRedirects(false).retryOnConnectionFailure(false)
        cache(null).cookieJar(CookieJar.NO_COOKIES).authenticator(Authenticator.NONE)
        interceptors().clear()
        networkInterceptors().clear()
        addNetworkInterceptor(::once)
        val threads = ThreadPoolExecutor(0, Int.MAX_VALUE, 10, TimeUnit.SECONDS, SynchronousQueue()) { task ->
            Thread(task, "remint OkHttp").apply { isDaemon = true }
        }
        dispatcher(Dispatcher(threads).apply { maxRequestsPerHost = maxRequests })
    }.build()

    override fun send(request: HttpRequest): CompletionStage<HttpResponse> {
        val attempt = Attempt(request.cap)
        val lines = Request.Builder().url(request.url).method(request.method, request.body?.toRequestBody()).tag(Attempt::class.java, attempt)
        request.headers.forEach { (name, value) -> lines.header(name, value) }
        val call = client.newCall(lines.build())
        call.timeout().timeout(request.timeout.toMillis(), TimeUnit.MILLISECONDS)
        call.enqueue(attempt)
        // Who gives up cancels the stage.
        attempt.answer.whenComplete { _, _ -> if (attempt.answer.isCancelled) call.cancel() }
        return attempt.answer
    }
}

/** One request on its way, and what became of it. */
private class Attempt(private val cap: Long) : Callback {
    val answer = CompletableFuture<HttpResponse>()

    /** Whether there was a connection to send anything on. */
    @Volatile
    var isSent = false

    /** How long the server asks to wait. */
    @Volatile
    var retryAfter = emptyList<String>()

    override fun onResponse(call: Call, response: Response) {
        try {
            val source = response.body!!.source()
            if (source.request(cap + 1)) throw TransportFailure(TransportFailure.Kind.TOO_LARGE)
            val headers = response.headers.toMultimap() + (RETRY_AFTER to retryAfter)
            answer.complete(HttpResponse(response.code, headers, source.readByteArray()))
        } catch (e: IOException) {
            onFailure(call, e)
        } finally {
            response.close()
        }
    }

    override fun onFailure(call: Call, e: IOException) {
        val kind = when {
            e is TransportFailure -> e.kind
            !isSent -> TransportFailure.Kind.NOT_SENT
            e is InterruptedIOException -> TransportFailure.Kind.TIMEOUT
            else -> TransportFailure.Kind.MAYBE_SENT
        }
        answer.completeExceptionally(TransportFailure(kind, e))
    }
}

/** Runs once the connection is there, and hides what OkHttp would take as leave to send the request again. */
private fun once(chain: Interceptor.Chain): Response {
    val attempt = chain.request().tag(Attempt::class.java)!!
    attempt.isSent = true
    val response = chain.proceed(chain.request())
    attempt.retryAfter = response.headers(RETRY_AFTER)
    return response.newBuilder().removeHeader(RETRY_AFTER).build()
}

private const val RETRY_AFTER = "retry-after"
