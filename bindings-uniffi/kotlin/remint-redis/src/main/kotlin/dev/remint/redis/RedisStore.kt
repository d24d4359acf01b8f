package dev.remint.redis

import dev.remint.Conflict
import dev.remint.Held
import dev.remint.LockResult
import dev.remint.Locked
import dev.remint.SaveResult
import dev.remint.Saved
import dev.remint.Store
import dev.remint.UsageException
import java.security.MessageDigest
import java.time.Duration
import java.util.UUID
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.locks.ReentrantLock
import java.util.function.Consumer
import kotlin.concurrent.withLock

/**
 * A [Store] in Redis from 6.2, or Valkey: a [LettuceStore] or a [JedisStore], over a client of yours. One hash for each record, every change of it one script
 * that touches that key alone: so it works with Cluster and Sentinel. Everything has a time to live.
 *
 * Other processes hear of each record that is written by a channel, on a connection of its own.
 */
public sealed class RedisStore(private val prefix: String, address: String?, insecurePlaintext: Boolean) : Store, AutoCloseable {
    /** Who we are, so that we do not hear of what we wrote ourselves. */
    private val writer = UUID.randomUUID().toString()
    private val channel = "${prefix}changed"

    // Held while the one connection for messages is opened or closed, by those who begin or end to listen.
    private val lock = ReentrantLock()
    private val listeners = CopyOnWriteArrayList<Consumer<String?>>()
    private var messages: AutoCloseable? = null

    init {
        if (address != null && !insecurePlaintext) refusePlaintext(address)
    }

    /** The field of a hash. What Redis answers with an error is a `StoreDownException`, here and in [run]. */
    internal abstract fun field(name: String, field: String): String?

    /** What a script answers, numbers as [Long]; it is sent as a whole where the server does not have it. */
    internal abstract fun run(script: Script, name: String, arguments: List<String>): List<*>

    /** Opens a connection of its own for messages, which calls [heard] and [missed] from now on. */
    internal abstract fun listen(channel: String): AutoCloseable

    final override fun load(key: String): String? = field(prefix + key, RECORD)

    final override fun lock(key: String, owner: String, ttl: Duration): LockResult {
        val (isLocked, rest, record) = run(LOCK, prefix + key, listOf(owner, millis(ttl)))
        return if (isLocked == 1L) Locked(record as String?) else Held(Duration.ofMillis(rest as Long), record as String?)
    }

    final override fun save(key: String, expect: String?, record: String, ttl: Duration, unlock: String?): SaveResult {
        val answer = run(SAVE, prefix + key, listOf(expect.orEmpty(), record, millis(ttl), unlock.orEmpty(), channel, "$key $writer"))
        val stored = answer.getOrNull(1) as String?
        // A client that sends again what was cut off finds its own record there.
        return if (answer.first() == 1L || stored == record) Saved() else Conflict(stored)
    }

    final override fun subscribe(onChanged: Consumer<String?>): AutoCloseable {
        lock.withLock {
            if (messages == null) messages = listen(channel)
            listeners += onChanged
        }
        return AutoCloseable {
            lock.withLock {
                if (listeners.remove(onChanged) && listeners.isEmpty()) endMessages()
            }
        }
    }

    /** Ends the connections that the store has opened, and leaves the client to you. */
    override fun close(): Unit = lock.withLock {
        listeners.clear()
        endMessages()
    }

    final override fun toString(): String = "${javaClass.simpleName}(prefix=$prefix)"

    private fun endMessages() {
        messages?.close()
        messages = null
    }

    /** A message has come: `key writer`. */
    internal fun heard(message: String) {
        val (key, from) = message.split(' ', limit = 2).let { it[0] to it.getOrNull(1) }
        // Two clients of one store are two processes to each other.
        if (from != writer || listeners.size > 1) listeners.forEach { it.accept(key) }
    }

    /** Messages may have been lost. */
    internal fun missed(): Unit = listeners.forEach { it.accept(null) }

    private companion object {
        const val RECORD = "r"
        val LOCK = Script("lock")
        val SAVE = Script("save")

        fun millis(duration: Duration): String = "${duration.toMillis().coerceAtLeast(if (duration.isZero) 0 else 1)}"
    }
}

/** One of the scripts that all languages have: see `tests/stores/redis`. */
internal class Script(name: String) {
    val text: String = checkNotNull(RedisStore::class.java.getResourceAsStream("$name.lua")) { "the jar has no $name.lua" }.use { it.readBytes().decodeToString() }

    /** What the server calls it by. */
    val digest: String = MessageDigest.getInstance("SHA-1").digest(text.toByteArray()).joinToString("") { "%02x".format(it) }
}

/** What Redis says in the first word of an error. The rest may repeat what it was sent, a record for example. */
internal fun reason(error: Throwable): String = error.message.orEmpty().substringBefore(' ').take(LONGEST_REASON)

private const val LONGEST_REASON = 32

/** An address as clients write it, as in `rediss://user:password@host:6379/0`, or several of them with commas. */
private fun refusePlaintext(address: String) {
    val scheme = address.substringBefore("://", "").lowercase()
    if (scheme.isEmpty()) throw UsageException("the option `address` is no URL: write it as in `rediss://redis.example.com:6379`")
    if (scheme.startsWith("rediss") || "socket" in scheme || scheme == "unix") return
    val hosts = address.substringAfter("://").takeWhile { it !in "/?#" }.substringAfterLast('@').split(',').map(::host)
    val remote = hosts.firstOrNull { !isLoopback(it) } ?: return
    throw UsageException(
        "the connection to Redis at `$remote` is not encrypted, and tokens go over it: use `rediss://`, or give `insecurePlaintext` where nobody can listen",
    )
}

private fun host(authority: String): String = if (authority.startsWith('[')) authority.drop(1).substringBefore(']') else authority.substringBefore(':')

private fun isLoopback(host: String): Boolean = host == "localhost" || host == "::1" || LOOPBACK.matches(host)

private val LOOPBACK = Regex("127(?:\\.\\d{1,3}){3}")
