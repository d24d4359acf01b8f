package dev.remint

/**
 * Where to send the browser (RFC 6749 section 4.1.1), and what to remember until it is back.
 *
 * @property url the URL to redirect the browser to
 * @property session what the web session keeps for [Client.exchange]: opaque, and a secret
 */
public class Authorization internal constructor(
    public val url: String,
    @get:java.beans.Transient @Transient public val session: String,
) {
    override fun toString(): String = "Authorization(redacted)"
}

/**
 * A URL that holds the token (RFC 6750 section 2.3): a secret, which logs and histories keep.
 *
 * @property url the URL with the token in its query
 * @property headers what to put on the page that shows it, so that nothing caches it
 */
public class InsecureUrl internal constructor(
    @get:java.beans.Transient @Transient public val url: String,
    public val headers: Map<String, String>,
) {
    override fun toString(): String = "InsecureUrl(redacted)"
}
