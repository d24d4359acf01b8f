package dev.remint

import dev.remint.core.Lease
import java.time.Duration
import java.time.Instant

/**
 * An access token. Printing, logging or serializing it shows no secret.
 *
 * It is a snapshot: ask [Client.token] again for each use, which costs nothing while the token is good.
 */
public class Token internal constructor(
    @Transient private val lease: Lease,
    @Transient private val clock: Clock,
) {
    /** The token itself: a secret. */
    @get:java.beans.Transient
    public val accessToken: String get() = lease.accessToken.expose()

    /** The value of the header that it goes into: a secret. */
    @get:java.beans.Transient
    public val authorization: String get() = lease.authorization.expose()

    /** Its type, as in `Bearer` (RFC 6749 section 7.1). */
    public val tokenType: String get() = lease.tokenType

    /** The scope that was granted, space-separated, if that is known (RFC 6749 section 3.3). */
    public val scope: String? get() = lease.scope

    /** When it runs out, by the wall clock. */
    public val expiresAt: Instant get() = Instant.ofEpochMilli(lease.expiresWall)

    /** Counts the tokens of one client, subject and scope set, from 1. */
    public val generation: Long get() = lease.generation

    /** The API call that it was handed out for. */
    internal val call: String get() = lease.call

    /** What it has left now, by the clock that says less; never below zero. */
    public fun expiresIn(): Duration =
        Duration.ofMillis(minOf(lease.expires - clock.boot(), lease.expiresWall - clock.wall()).coerceAtLeast(0))

    override fun toString(): String = "Token(tokenType=$tokenType, scope=$scope, expiresAt=$expiresAt, generation=$generation)"
}
