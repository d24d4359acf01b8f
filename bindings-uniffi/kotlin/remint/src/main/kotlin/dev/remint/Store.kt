package dev.remint

import java.time.Duration
import java.util.function.Consumer

/**
 * What several processes share: one token for all of them, one request for it, and refresh tokens that outlive a process.
 *
 * [FileStore] and the artefact `remint-redis` have ready-made ones. One of your own (SQL, DynamoDB, a Kubernetes secret) is the three functions
 * below. They run on the client's executor, several at a time, and may block; what takes longer than the policy's `storeTimeout` counts as
 * failed. An exception counts as not knowing what was written, unless it is a [StoreDownException] or out of [load].
 *
 * A record is one line of ASCII whose meaning is the library's own. It is a secret: do not log it. Give `storeKeys`, and the store holds none.
 */
public interface Store {
    /** The record that is stored under [key], a text of letters, digits, `-` and `_`; null if there is none, or its time is over. */
    public fun load(key: String): String?

    /**
     * Takes the lease of [key] for [owner], or extends the one that [owner] has, until [ttl] from now. With a [ttl] of zero it ends [owner]'s lease,
     * if that is still [owner]'s, and the answer is [Locked]. It must be one step, as a compare-and-swap is.
     */
    public fun lock(key: String, owner: String, ttl: Duration): LockResult

    /**
     * Writes [record] if what is stored is exactly [expect], or nothing if [expect] is null, and keeps it for [ttl]. [unlock] is the owner whose lease
     * ends with that, if it is theirs; null ends none. It must be one step. A conflict changes nothing.
     */
    public fun save(key: String, expect: String?, record: String, ttl: Duration, unlock: String?): SaveResult

    /**
     * Calls [onChanged] with each key that another process has written, or with null where writes may have been missed. Closing the result, which the
     * client does when it is closed, ends that. A store that cannot tell does nothing here: it is looked at once per `storeCheck` of the policy.
     */
    public fun subscribe(onChanged: Consumer<String?>): AutoCloseable = AutoCloseable { }
}

/** What became of [Store.lock]: [Locked] or [Held]. */
public sealed class LockResult

/**
 * The lease is the owner's, or has ended, as was asked for. Printing it shows no record.
 *
 * @property record what is stored; null if nothing is
 */
public class Locked(@get:java.beans.Transient @Transient public val record: String?) : LockResult() {
    override fun toString(): String = "Locked(redacted)"
}

/**
 * Somebody else has the lease. Printing it shows no record.
 *
 * @property retryIn when their lease ends if nothing else ends it
 * @property record what is stored; null if nothing is
 */
public class Held(
    public val retryIn: Duration,
    @get:java.beans.Transient @Transient public val record: String?,
) : LockResult() {
    override fun toString(): String = "Held(retryIn=$retryIn, redacted)"
}

/** What became of [Store.save]: [Saved] or [Conflict]. */
public sealed class SaveResult

/** The record is stored. */
public class Saved : SaveResult() {
    override fun toString(): String = "Saved()"
}

/**
 * Something else is stored than was expected, and nothing was written. Printing it shows no record.
 *
 * @property record what is stored; null if nothing is
 */
public class Conflict(@get:java.beans.Transient @Transient public val record: String?) : SaveResult() {
    override fun toString(): String = "Conflict(redacted)"
}

/** A store cannot be used now, and surely nothing was written: what a function of a [Store] throws where it knows that. */
public class StoreDownException @JvmOverloads constructor(message: String, cause: Throwable? = null) : RuntimeException(message, cause)

/**
 * A key that records are encrypted with before a [Store] sees them. Printing it shows nothing of it.
 *
 * @param id what a record calls its key by, as in `2026-11`; it is not secret
 * @param key 32 random bytes as base64url without padding
 */
public class StoreKey(internal val id: String, @Transient internal val key: String) {
    /** The same key of its 32 bytes. */
    public constructor(id: String, key: ByteArray) : this(id, base64(key))

    override fun toString(): String = "StoreKey(id=$id, redacted)"
}
