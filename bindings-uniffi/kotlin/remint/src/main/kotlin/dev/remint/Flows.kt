package dev.remint

import dev.remint.core.Pending
import dev.remint.core.Secret
import java.time.Duration

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

/** What a person types in on another device (RFC 8628 section 3.2), and what to remember until they have answered. */
public class DeviceAuthorization internal constructor(@Transient private val pending: Pending) {
    /** What the person types in. Show it, even where [verificationUriComplete] is opened. */
    public val userCode: String get() = pending.userCode.orEmpty()

    /** Where they type it in. */
    public val verificationUri: String get() = pending.verificationUri.orEmpty()

    /** The same address with the code in it, if the server gives one. */
    public val verificationUriComplete: String? get() = pending.verificationUriComplete

    /** The text for a QR code (RFC 8628 section 3.3.1). */
    public val qrText: String get() = pending.qrText.orEmpty()

    /** For how long they may take. */
    public val expiresIn: Duration get() = Duration.ofMillis(pending.expiresIn)

    /** The time between two polls, which [Client.poll] keeps to. */
    public val interval: Duration get() = Duration.ofMillis(pending.interval)

    /** What [Client.poll] goes on with: opaque, and a secret. */
    @get:java.beans.Transient
    public val session: String get() = pending.session.expose()

    override fun toString(): String =
        "DeviceAuthorization(userCode=$userCode, verificationUri=$verificationUri, expiresIn=$expiresIn, interval=$interval)"
}

/** A person is being asked on a device of their own (CIBA section 7.3), and what to remember until they have answered. */
public class BackchannelAuthentication internal constructor(@Transient private val pending: Pending) {
    /** For how long they may take. */
    public val expiresIn: Duration get() = Duration.ofMillis(pending.expiresIn)

    /** The time between two polls, which [Client.poll] keeps to. */
    public val interval: Duration get() = Duration.ofMillis(pending.interval)

    /** What [Client.poll] goes on with: opaque, and a secret. */
    @get:java.beans.Transient
    public val session: String get() = pending.session.expose()

    override fun toString(): String = "BackchannelAuthentication(expiresIn=$expiresIn, interval=$interval)"
}

/** What a server knows about a token (RFC 7662 section 2.2). Some of it may be about a person: printing it shows none of that. */
public class Introspection internal constructor(
    /** Whether the token is good, says the server. */
    public val isActive: Boolean,
    @Transient private val text: Secret,
) {
    /**
     * The whole answer, its members by name: texts, [Boolean]s, [Long]s or [java.math.BigDecimal]s, lists and maps.
     */
    @get:java.beans.Transient
    public val claims: Map<String, Any?> by lazy {
        @Suppress("UNCHECKED_CAST") // The core gives an object.
        fromJson(text.expose()) as Map<String, Any?>
    }

    override fun toString(): String = "Introspection(isActive=$isActive, redacted)"
}
