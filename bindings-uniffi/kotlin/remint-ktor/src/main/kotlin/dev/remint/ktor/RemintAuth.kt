package dev.remint.ktor

import dev.remint.ApiCall
import dev.remint.Client
import io.ktor.client.plugins.api.ClientPlugin
import io.ktor.client.plugins.api.Send
import io.ktor.client.plugins.api.SendingRequest
import io.ktor.client.plugins.api.createClientPlugin
import io.ktor.client.request.HttpRequestBuilder
import io.ktor.client.statement.HttpResponse
import io.ktor.client.statement.request
import io.ktor.http.URLBuilder
import io.ktor.http.content.OutgoingContent
import io.ktor.util.AttributeKey
import io.ktor.util.toMap
import io.ktor.utils.io.KtorDsl

/** What [RemintAuth] needs to know. */
@KtorDsl
public class RemintAuthConfig internal constructor() {
    /** Whose token goes on the requests. Required. Closing it remains yours. */
    public var client: Client? = null
}

/**
 * Puts a client's token on every request, and repeats a request where a new token or proof may help:
 * `HttpClient { install(RemintAuth) { client = wallet } }`.
 *
 * What was put on is taken off where a redirect leads to another origin (RFC 6454). Where there is no token, or a request
 * goes to an origin that the client does not know, the request fails with a [dev.remint.RemintException] and is not sent.
 *
 * Bodies that are in memory are repeated. A channel or stream can be sent only once: then the API's 401 is the answer, and a
 * notice `body_not_replayable` says why. A caller who is cancelled while waiting for a token ends; the token request goes on
 * for the others.
 */
public val RemintAuth: ClientPlugin<RemintAuthConfig> = createClientPlugin("RemintAuth", ::RemintAuthConfig) {
    val client = requireNotNull(pluginConfig.client) { "say whose token goes on the requests: install(RemintAuth) { client = … }" }

    on(Send) { request ->
        // A redirect copies the attributes of the request that it follows.
        val known = request.attributes.getOrNull(ATTACHED)
        val attached = known ?: Attached(ApiCall(client), origin(request.url)).also { request.attributes.put(ATTACHED, it) }
        if (attached.isAway(request)) return@on proceed(request)
        if (known == null) attached.attach(request)
        var sent = proceed(request)
        while (attached.isAnotherWanted(sent.response)) {
            if (!isReplayable(request.body)) {
                attached.call.cannotBeRepeated()
                break
            }
            attached.attach(request)
            sent = proceed(request)
        }
        sent
    }

    // The last to see a request, wherever in the order of plugins those are that follow redirects or send again.
    on(SendingRequest) { request, _ ->
        val attached = request.attributes.getOrNull(ATTACHED)
        if (attached?.isAway(request) == true) attached.names.forEach(request.headers::remove) else attached?.refresh(request)
    }
}

/** What was put on a request, and for which origin. */
private class Attached(val call: ApiCall, private val home: String) {
    var names: Set<String> = emptySet()

    /** Once a redirect has led away, what comes after it gets nothing of ours, however the redirects go on. */
    private var left = false

    /** Whether what was put on has not been sent yet. */
    private var isFresh = false

    fun isAway(request: HttpRequestBuilder): Boolean {
        if (origin(request.url) != home) left = true
        return left
    }

    suspend fun attach(request: HttpRequestBuilder) {
        put(request, call.attach(request.method.value, request.url.buildString()))
        isFresh = true
    }

    /** What was put on is for one sending: each redirect and repetition after it gets its own. */
    suspend fun refresh(request: HttpRequestBuilder) {
        if (!isFresh) put(request, call.attachHop(request.method.value, request.url.buildString()))
        isFresh = false
    }

    private fun put(request: HttpRequestBuilder, headers: Map<String, String>) {
        headers.forEach(request.headers::set)
        names = names + headers.keys
    }

    fun isAnotherWanted(response: HttpResponse): Boolean =
        // What another origin says, after a redirect, is not about the token.
        !left && call.answered(response.request.url.toString(), response.status.value, response.headers.toMap())
}

/** Scheme, host and port, of which a builder knows the last only if it was told. */
private fun origin(url: URLBuilder) = url.build().run { "${protocol.name}://${host.lowercase()}:$port" }

private fun isReplayable(body: Any): Boolean = when (body) {
    is OutgoingContent.ByteArrayContent, is OutgoingContent.NoContent -> true
    is OutgoingContent.ContentWrapper -> isReplayable(body.delegate())
    else -> false
}

private val ATTACHED = AttributeKey<Attached>("RemintAuth")
