@file:JvmName("RemintOkHttp")

package dev.remint.okhttp

import dev.remint.ApiCall
import dev.remint.Client
import dev.remint.RemintException
import java.io.IOException
import java.io.InterruptedIOException
import java.util.concurrent.CompletableFuture
import java.util.concurrent.ExecutionException
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException
import java.util.concurrent.atomic.AtomicBoolean
import okhttp3.HttpUrl
import okhttp3.Interceptor
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.Response

/**
 * Puts [client]'s token on every call of this OkHttp client, and repeats a call where a new token or proof may help.
 *
 * It adds an application interceptor, and a network interceptor that takes off what was put on where a redirect leads to
 * another origin (RFC 6454). Where there is no token, or the call goes to an origin that the client does not
 * know, the call fails with [RemintIOException]. From Java: `RemintOkHttp.remint(builder, client)`.
 *
 * A body that is one-shot or duplex is not repeated: the API's 401 is the answer, and a notice `body_not_replayable` says why.
 * A call that is cancelled while it waits for a token ends; the token request goes on for the others.
 */
public fun OkHttpClient.Builder.remint(client: Client): OkHttpClient.Builder =
    addInterceptor { chain -> told { exchange(chain, client) } }.addNetworkInterceptor { chain -> told { hop(chain) } }

/**
 * There was nothing to put on a call, which was not sent therefore; or the API wants the person to sign in anew: [cause] says which.
 *
 * An interceptor of OkHttp's has to throw an `IOException`: another would crash the dispatcher's thread.
 */
public class RemintIOException(override val cause: RemintException) : IOException(cause.message, cause)

private inline fun told(send: () -> Response): Response = try {
    send()
} catch (e: RemintException) {
    throw RemintIOException(e)
}

/** What was put on a call. A tag of the request, which OkHttp keeps on all hops. */
private class Attached(val call: ApiCall, val request: Request, val names: Set<String>) {
    /** Whether a redirect has led away. What comes after it gets nothing of ours, however the redirects go on. */
    @Volatile
    var isAway = false

    /** Whether it has been sent. OkHttp may send it again by itself, and what was put on it is for one sending. */
    val isSent = AtomicBoolean()
}

private fun exchange(chain: Interceptor.Chain, client: Client): Response {
    val call = ApiCall(client)
    while (true) {
        val request = attach(chain, call)
        val response = chain.proceed(request)
        try {
            if (!isAnotherWanted(call, request, response)) return response
        } catch (e: RemintException) {
            response.close()
            throw e
        }
        if (request.body?.run { isOneShot() || isDuplex() } == true) {
            call.cannotBeRepeated()
            return response
        }
        response.close()
    }
}

private fun attach(chain: Interceptor.Chain, call: ApiCall): Request {
    val request = chain.request()
    val headers = await(chain, call.attachAsync(request.method, request.url.toString()))
    if (request.header("Upgrade").equals("websocket", ignoreCase = true) && headers.keys.any { !it.equals("authorization", ignoreCase = true) }) {
        // No network interceptor runs for web sockets, and OkHttp takes nothing but `Authorization` off by itself.
        throw IOException("a web socket takes no header but `Authorization`, which is all that OkHttp takes off on redirects: use `headers` of the client")
    }
    return request.with(headers).newBuilder().tag(Attached::class.java, Attached(call, request, headers.keys)).build()
}

/** Waits for a token, as long as the call is wanted: OkHttp tells an interceptor no other way that it isn't. */
private fun <T> await(chain: Interceptor.Chain, future: CompletableFuture<T>): T {
    try {
        while (true) {
            try {
                return future.get(LOOK_MILLIS, TimeUnit.MILLISECONDS)
            } catch (_: TimeoutException) {
                if (chain.call().isCanceled()) throw IOException("Canceled")
            }
        }
    } catch (e: ExecutionException) {
        throw e.cause ?: e
    } catch (_: InterruptedException) {
        Thread.currentThread().interrupt()
        throw InterruptedIOException("interrupted while waiting for a token")
    } finally {
        future.cancel(false)
    }
}

private fun hop(chain: Interceptor.Chain): Response {
    val request = chain.request()
    val attached = request.tag(Attached::class.java) ?: return chain.proceed(request)
    val first = attached.request
    if (!isSameOrigin(request.url, first.url)) attached.isAway = true
    return chain.proceed(
        when {
            attached.isAway -> request.newBuilder().apply { attached.names.forEach(::removeHeader) }.build()
            !attached.isSent.getAndSet(true) && request.url == first.url && request.method == first.method -> request
            else -> request.with(await(chain, attached.call.attachHopAsync(request.method, request.url.toString())))
        },
    )
}

private fun isAnotherWanted(call: ApiCall, sent: Request, response: Response): Boolean =
    // What another origin says, after a redirect, is not about the token.
    sent.tag(Attached::class.java)?.isAway != true &&
        call.answered(response.request.url.toString(), response.code, response.headers.toMultimap())

private fun Request.with(headers: Map<String, String>): Request =
    newBuilder().apply { headers.forEach { (name, value) -> header(name, value) } }.build()

private fun isSameOrigin(one: HttpUrl, other: HttpUrl) =
    one.scheme == other.scheme && one.host == other.host && one.port == other.port

private const val LOOK_MILLIS = 50L
