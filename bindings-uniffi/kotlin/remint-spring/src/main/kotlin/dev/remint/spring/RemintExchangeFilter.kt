package dev.remint.spring

import dev.remint.ApiCall
import dev.remint.Client
import dev.remint.RemintException
import org.reactivestreams.Publisher
import org.springframework.core.io.buffer.DataBuffer
import org.springframework.http.client.reactive.ClientHttpRequest
import org.springframework.http.client.reactive.ClientHttpRequestDecorator
import org.springframework.web.reactive.function.BodyInserter
import org.springframework.web.reactive.function.client.ClientRequest
import org.springframework.web.reactive.function.client.ClientResponse
import org.springframework.web.reactive.function.client.ExchangeFilterFunction
import org.springframework.web.reactive.function.client.ExchangeFunction
import reactor.core.publisher.Mono

/**
 * Puts [client]'s token on every request of a `WebClient`, and repeats a request where a new token or proof may help:
 * `WebClient.builder().filter(RemintExchangeFilter(wallet)).build()`.
 *
 * Where there is no token, or a request goes to an origin that the client does not know, the answer is an error, a
 * [dev.remint.RemintException], and nothing is sent. Bodies that Spring writes as one buffer, such as values and forms, are repeated. A
 * stream can be sent only once: then the API's 401 is the answer, and a notice `body_not_replayable` says why. Whoever
 * cancels while waiting for a token ends; the token request goes on for the others. No thread is blocked.
 *
 * Spring shows no redirect to a filter that the connector below follows, as Spring Boot's do, so that headers can't be taken off
 * there. With [followRedirects], and redirects turned off in the connector, the filter follows them itself, as browsers do, and
 * takes off what it put on where they lead to another origin (RFC 6454).
 */
public class RemintExchangeFilter @JvmOverloads constructor(
    private val client: Client,
    private val followRedirects: Boolean = false,
) : ExchangeFilterFunction {
    override fun filter(request: ClientRequest, next: ExchangeFunction): Mono<ClientResponse> = Mono.defer {
        Exchange(ApiCall(client), request, next).run()
    }

    private inner class Exchange(private val call: ApiCall, private val request: ClientRequest, private val next: ExchangeFunction) {
        private val body = WatchedBody(request.body())
        private lateinit var first: Hop
        private lateinit var last: Hop

        fun run(): Mono<ClientResponse> = start().flatMap { response ->
            try {
                if (isAnotherWanted(response)) response.releaseBody().then(Mono.defer(::run)) else Mono.just(response)
            } catch (e: RemintException) {
                response.releaseBody().then(Mono.error(e))
            }
        }

        private fun start(): Mono<ClientResponse> = Mono.fromFuture { call.attachAsync(request.method().name(), request.url().toString()) }
            .flatMap {
                first = Hop(request.method(), request.url(), it)
                send(first, hops = 0)
            }

        private fun isAnotherWanted(response: ClientResponse): Boolean {
            // What another origin says, after a redirect, is not about the token.
            if (last.ours == null || !call.answered(last.uri.toString(), response.statusCode().value(), response.headers().asHttpHeaders().toMap())) return false
            if (body.isStream) call.cannotBeRepeated()
            return !body.isStream
        }

        private fun send(hop: Hop, hops: Int): Mono<ClientResponse> {
            last = hop
            val headers = hop.headers(request.headers(), first)
            val request = ClientRequest.from(request).method(hop.method).url(hop.uri).body(if (hop.isBodyKept) body else NO_BODY).headers {
                it.clear()
                headers.forEach { name, values -> it.addAll(name, values) }
            }
            if (hop.ours == null) request.cookies { it.clear() }
            return next.exchange(request.build()).flatMap { response ->
                val location = response.headers().asHttpHeaders().getFirst("Location")
                val next = if (followRedirects && hops < Hop.MAX) hop.next(response.statusCode().value(), location) else null
                when {
                    next == null || next.isBodyKept && body.isStream -> Mono.just(response)
                    else -> response.releaseBody().then(Mono.defer { attached(next) }).flatMap { send(it, hops + 1) }
                }
            }
        }

        private fun attached(hop: Hop): Mono<Hop> =
            if (hop.ours == null) Mono.just(hop) else Mono.fromFuture { call.attachHopAsync(hop.method.name(), hop.uri.toString()) }.map(hop::with)
    }
}

/** A body that notes whether it was written as one buffer, which can be done again, or as a stream. */
private class WatchedBody(private val body: BodyInserter<*, in ClientHttpRequest>) : BodyInserter<Any, ClientHttpRequest> {
    @Volatile
    var isStream = false

    override fun insert(message: ClientHttpRequest, context: BodyInserter.Context): Mono<Void> = body.insert(
        object : ClientHttpRequestDecorator(message) {
            override fun writeWith(body: Publisher<out DataBuffer>): Mono<Void> {
                if (body !is Mono) isStream = true
                return super.writeWith(body)
            }

            override fun writeAndFlushWith(body: Publisher<out Publisher<out DataBuffer>>): Mono<Void> {
                isStream = true
                return super.writeAndFlushWith(body)
            }
        },
        context,
    )
}

private val NO_BODY = BodyInserter<Any, ClientHttpRequest> { message, _ -> message.setComplete() }
