package dev.remint

import dev.remint.core.Failure
import dev.remint.core.Family
import java.time.Duration

/**
 * The base of everything that Remint throws. It never holds a token, a credential or a body.
 *
 * The message says what happened and what to do. Branch on [code], which stays the same in every version and language.
 * A [cause] is the host's own exception, from a transport or a function of yours.
 */
public sealed class RemintException(failure: Failure, cause: Throwable?) :
    RuntimeException(failure.hint?.let { "${failure.text}: $it" } ?: failure.text, cause) {
    /** The stable code, as in `invalid_client`. */
    public val code: String = failure.code

    /** `usage`, `server` or `transport`: whose doing it is. */
    public val family: String = failure.family.name.lowercase()

    /** The HTTP status of the answer, if there was one. */
    public val status: Int? = failure.status

    /** Whether the same call may succeed later without a change of program or configuration. */
    public val isRetryable: Boolean = failure.retryable

    /** How long it is until a further attempt is made, where known. */
    public val retryAfter: Duration? = failure.retryAfter?.let(Duration::ofMillis)

    /** The `error` of the server's answer (RFC 6749 section 5.2). */
    public val oauthError: String? = failure.oauthError

    /** The likely cause, where one can be told. It is in the message, too. */
    public val hint: String? = failure.hint

    /** A JSON pointer (RFC 6901) to the wrong field of a profile. */
    public val pointer: String? = failure.pointer

    /** The lifetime that the server gives, for `min_ttl_unavailable`. */
    public val lifetime: Duration? = failure.lifetime?.let(Duration::ofMillis)

    /** Whether a refused refresh token may have been spent by an earlier request whose answer was lost. */
    public val isAmbiguous: Boolean = failure.ambiguous

    /** The authentication context classes that an API asks for, space-separated, for `insufficient_user_authentication` (RFC 9470 section 3). */
    public val acrValues: String? = failure.acrValues

    /** How long ago the person may have signed in at most, says an API (RFC 9470 section 3). */
    public val maxAge: Duration? = failure.maxAge?.let(Duration::ofSeconds)
}

/** Remint was misused: change the program or its configuration. */
public class UsageException internal constructor(failure: Failure, cause: Throwable?) : RemintException(failure, cause) {
    /** For adapters and stores of your own, which refuse an option of theirs: the code is `invalid_option`. */
    public constructor(message: String) : this(failure("invalid_option", Family.USAGE, message), null)
}

/** The authorization server, or what answered in its place, said no. */
public class ServerException internal constructor(failure: Failure, cause: Throwable?) : RemintException(failure, cause)

/** No usable answer arrived, or a function of yours failed: then that exception is the [cause]. */
public class TransportException internal constructor(failure: Failure, cause: Throwable?) : RemintException(failure, cause)

/** An option or argument that the shell itself refuses. */
internal fun misuse(text: String, cause: Throwable? = null): RemintException =
    failure("invalid_option", Family.USAGE, text).toException(cause)

internal fun failure(code: String, family: Family, text: String, retryable: Boolean = false): Failure =
    Failure(code, family, text, null, null, retryable, null, null, null, null, false, null, null)

/** The exception for a failure of the core's. [cause] is the host's own exception, if one led to it. */
internal fun Failure.toException(cause: Throwable? = null): RemintException {
    val known = copy(text = inCamelCase(code, text), hint = hint ?: CERTIFICATE_HINT.takeIf { isCertificateFailure(cause) } ?: (cause as? UnreadableFile)?.message)
    return when (family) {
        Family.USAGE -> UsageException(known, cause)
        Family.SERVER -> ServerException(known, cause)
        Family.TRANSPORT -> TransportException(known, cause)
    }
}

/** The same text with the names of options as [Builder] has them. Values and OAuth's own names stay as they are. */
private fun inCamelCase(code: String, text: String): String {
    val names = if (code !in NAMING) REGISTRATION else if (" is not known: " in text) QUOTED else OPTION
    return names.replace(text) { name -> UNDERSCORE.replace(name.value) { it.groupValues[1].uppercase() } }
        .replace("`aside`", "`backgroundRefresh`")
}

private val NAMING = setOf("invalid_option", "origin_not_allowed", "cache_full")
private val QUOTED = Regex("`[^`]+`")
private val OPTION = Regex("(?:option|exceed|set|in|raise|beside) `(?!parameters\\.)[^`]+`")
private val REGISTRATION = Regex("`(?:initial|registration)_[a-z_]+`")
private val UNDERSCORE = Regex("_([a-z])")
private const val CERTIFICATE_HINT =
    "the server's certificate is not trusted: pass an `sslContext` that trusts its authority, or your proxy as `proxy`"
