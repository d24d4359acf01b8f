package dev.remint.spring

import dev.remint.ApiCall
import dev.remint.Client
import dev.remint.RemintException
import org.springframework.http.HttpRequest
import org.springframework.http.client.ClientHttpRequestExecution
import org.springframework.http.client.ClientHttpRequestInterceptor
import org.springframework.http.client.ClientHttpResponse
import org.springframework.http.client.support.HttpRequestWrapper

/**
 * Puts [client]'s token on every request of a `RestClient` or `RestTemplate`, and repeats a request where a new token
 * or proof may help: `RestClient.builder().requestInterceptor(RemintRequestInterceptor(wallet)).build()`.
 *
 * Where there is no token, or a request goes to an origin that the client does not know, a [dev.remint.RemintException] is
 * thrown and nothing is sent. Spring keeps the bodies of requests that are intercepted in memory, so all can be repeated.
 * Add it last: Spring leaves out the interceptors that come after it when a request is repeated.
 *
 * Spring shows no redirect to an interceptor that the HTTP library below follows, so that headers can't be taken off there. With
 * [followRedirects], and redirects turned off in the request factory, the interceptor follows them itself, as browsers do, and
 * takes off what it put on where they lead to another origin (RFC 6454).
 */
public class RemintRequestInterceptor @JvmOverloads constructor(
    private val client: Client,
    private val followRedirects: Boolean = false,
) : ClientHttpRequestInterceptor {
    override fun intercept(request: HttpRequest, body: ByteArray, execution: ClientHttpRequestExecution): ClientHttpResponse {
        val call = ApiCall(client)
        while (true) {
            val (response, isAnotherWanted) = exchange(call, request, body, execution)
            if (!isAnotherWanted) return response
            response.close()
        }
    }

    /** Sends one request, follows its redirects, and says whether another token may give another answer. */
    private fun exchange(
        call: ApiCall,
        request: HttpRequest,
        body: ByteArray,
        execution: ClientHttpRequestExecution,
    ): Pair<ClientHttpResponse, Boolean> {
        val first = Hop(request.method, request.uri, call.attachBlocking(request.method.name(), request.uri.toString()))
        var hop = first
        var hops = 0
        while (true) {
            val response = execution.execute(HopRequest(request, hop, first), if (hop.isBodyKept) body else ByteArray(0))
            val status = response.statusCode.value()
            val next = if (followRedirects && hops++ < Hop.MAX) hop.next(status, response.headers.getFirst("Location")) else null
            if (next == null) return response to isAnotherWanted(call, hop, response)
            response.close()
            hop = if (next.ours == null) next else next.with(call.attachHopBlocking(next.method.name(), next.uri.toString()))
        }
    }

    private fun isAnotherWanted(call: ApiCall, hop: Hop, response: ClientHttpResponse): Boolean = try {
        // What another origin says, after a redirect, is not about the token.
        hop.ours != null && call.answered(hop.uri.toString(), response.statusCode.value(), response.headers.toMap())
    } catch (e: RemintException) {
        response.close()
        throw e
    }

    private class HopRequest(request: HttpRequest, private val hop: Hop, first: Hop) : HttpRequestWrapper(request) {
        private val headers = hop.headers(request.headers, first)

        override fun getMethod() = hop.method

        override fun getURI() = hop.uri

        override fun getHeaders() = headers
    }
}
