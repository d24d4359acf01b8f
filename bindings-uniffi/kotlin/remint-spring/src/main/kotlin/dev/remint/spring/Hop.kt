package dev.remint.spring

import java.net.URI
import java.util.TreeSet
import org.springframework.http.HttpHeaders
import org.springframework.http.HttpMethod

/** One request of a chain of redirects, and what of ours is on it. */
internal class Hop(val method: HttpMethod, val uri: URI, val ours: Map<String, String>?, val isBodyKept: Boolean = true) {
    /** Where a redirect leads (RFC 9110 section 15.4, in the way of the Fetch standard), or null if it leads nowhere. */
    fun next(status: Int, location: String?): Hop? {
        if (status !in REDIRECTS || location == null) return null
        val target = runCatching { uri.resolve(location) }.getOrNull()?.takeIf { it.scheme.lowercase() in SCHEMES } ?: return null
        val isGet = if (status == 303) method != HttpMethod.HEAD else status < 303 && method == HttpMethod.POST
        val next = if (isGet) HttpMethod.GET else method
        // What was meant for the one origin is nobody else's, and stays off however the redirects go on.
        return Hop(next, target, ours?.takeIf { isSameOrigin(target) }, isBodyKept && !isGet)
    }

    /** The same with what was attached for it. */
    fun with(attached: Map<String, String>) = Hop(method, uri, ours.orEmpty() + attached, isBodyKept)

    /** What the caller gave, with what belongs on this hop and without what does not. */
    fun headers(given: HttpHeaders, first: Hop): HttpHeaders {
        val off = TreeSet(String.CASE_INSENSITIVE_ORDER)
        if (ours == null) off += first.ours.orEmpty().keys + CREDENTIALS
        if (!isBodyKept) off += BODY
        val headers = HttpHeaders()
        given.forEach { name, values -> if (name !in off) headers.addAll(name, values) }
        ours?.forEach(headers::set)
        return headers
    }

    private fun isSameOrigin(other: URI) =
        // A host that `URI` can't read is no host's equal.
        uri.host?.equals(other.host, ignoreCase = true) == true && uri.scheme.equals(other.scheme, ignoreCase = true) && port(uri) == port(other)

    private fun port(uri: URI) = if (uri.port != -1) uri.port else SCHEMES.getValue(uri.scheme.lowercase())

    companion object {
        const val MAX = 20
        private val SCHEMES = mapOf("http" to 80, "https" to 443)
        private val REDIRECTS = setOf(301, 302, 303, 307, 308)
        private val BODY = listOf("Content-Encoding", "Content-Language", "Content-Location", "Content-Type", "Content-Length")

        /** What the caller may have put on the request for its first origin alone. */
        private val CREDENTIALS = listOf("Authorization", "Proxy-Authorization", "Cookie", "Host")
    }
}

/** Spring's headers are a map of lists up to 6, and none from 7. */
internal fun HttpHeaders.toMap(): Map<String, List<String>> = buildMap { this@toMap.forEach { name, values -> put(name, values) } }
