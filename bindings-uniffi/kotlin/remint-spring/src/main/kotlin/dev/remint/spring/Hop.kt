package dev.remint.spring

import java.net.URI
import org.springframework.http.HttpHeaders
import org.springframework.http.HttpMethod

/** One request of a chain of redirects, and what of ours is on it. */
internal class Hop(val method: HttpMethod, val uri: URI, val ours: Map<String, String>?, val isBodyKept: Boolean = true) {
    /** Where a redirect leads (RFC 9110 section 15.4, in the way of the Fetch standard), or null if it leads nowhere. */
    fun next(status: Int, location: String?, attachHop: (method: String, url: String) -> Map<String, String>): Hop? {
        if (status !in REDIRECTS || location == null) return null
        val target = runCatching { uri.resolve(location) }.getOrNull()?.takeIf { it.scheme.lowercase() in SCHEMES } ?: return null
        val isGet = if (status == 303) method != HttpMethod.HEAD else status < 303 && method == HttpMethod.POST
        val next = if (isGet) HttpMethod.GET else method
        // What was meant for the one origin is nobody else's, and stays off however the redirects go on.
        val ours = ours?.takeIf { isSameOrigin(target) }?.let { it + attachHop(next.name(), target.toString()) }
        return Hop(next, target, ours, isBodyKept && !isGet)
    }

    /** Puts on what belongs on this hop, and takes off what does not. */
    fun write(headers: HttpHeaders, first: Hop) {
        if (ours == null) (first.ours.orEmpty().keys + CREDENTIALS).forEach(headers::remove)
        if (!isBodyKept) BODY.forEach(headers::remove)
        ours?.forEach(headers::set)
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
