package dev.remint

import java.io.IOException
import java.time.Duration
import java.util.concurrent.CompletionStage

/**
 * Sends one HTTP request to the authorization server, exactly once: no retries, no redirects.
 *
 * It is called from any thread, must not block it, and reports a failure by the stage or by throwing. What it fails
 * with decides whether the request counts as sent: see [TransportFailure].
 */
public fun interface Transport {
    /** Sends [request] and answers with the whole response. The stage is cancelled when time is up. */
    public fun send(request: HttpRequest): CompletionStage<HttpResponse>
}

/**
 * One request. Its URL, headers and body may hold credentials: log none of them.
 *
 * @property method the method, as in `POST`
 * @property url the absolute URL
 * @property headers the headers, each name once
 * @property body the body, whose type is among the headers; none for a GET
 * @property timeout how long all of it may take, from now until the last byte of the answer
 * @property cap how many bytes of body to read at most, content codings undone; more is [TransportFailure.Kind.TOO_LARGE]
 * @property tlsId the client certificate that the connection needs, by its thumbprint (RFC 8705 section 3.1): requests with two of
 *   them must not share a connection. None unless the client was given a certificate
 */
public class HttpRequest @JvmOverloads constructor(
    public val method: String,
    public val url: String,
    public val headers: Map<String, String>,
    public val body: ByteArray?,
    public val timeout: Duration,
    public val cap: Long,
    public val tlsId: String? = null,
) {
    override fun toString(): String = "HttpRequest($method, redacted)"
}

/**
 * One response, read to its end. Its body may hold a token.
 *
 * @property status the HTTP status
 * @property headers the header lines as they came, by name in any case
 * @property body the body, content codings undone
 */
public class HttpResponse(
    public val status: Int,
    public val headers: Map<String, List<String>>,
    public val body: ByteArray,
) {
    override fun toString(): String = "HttpResponse($status, redacted)"
}

/**
 * A request that ended without an answer, and how.
 *
 * A [Transport] need not throw it: `ConnectException`, `UnknownHostException`, `SSLHandshakeException` and their like
 * are known to come before the first byte. Whatever else it throws counts as [Kind.MAYBE_SENT].
 */
public class TransportFailure @JvmOverloads constructor(
    /** How it ended. */
    public val kind: Kind,
    cause: Throwable? = null,
) : IOException(kind.text, cause) {
    /** How a request can end without an answer. */
    public enum class Kind(internal val text: String) {
        /** Surely no byte of the request left: it may be repeated, whatever it was. */
        NOT_SENT("the request was not sent"),

        /** The server may have seen the request. */
        MAYBE_SENT("the request may have been sent, and no answer arrived"),

        /** There was no answer in time. */
        TIMEOUT("no answer arrived in time"),

        /** The answer was longer than [HttpRequest.cap]. */
        TOO_LARGE("the answer is too large"),
    }
}
