package dev.remint.redis

import dev.remint.StoreDownException
import io.lettuce.core.RedisClient
import io.lettuce.core.RedisCommandExecutionException
import io.lettuce.core.RedisCommandTimeoutException
import io.lettuce.core.RedisConnectionException
import io.lettuce.core.RedisFuture
import io.lettuce.core.RedisNoScriptException
import io.lettuce.core.ScriptOutputType
import io.lettuce.core.api.StatefulConnection
import io.lettuce.core.api.StatefulRedisConnection
import io.lettuce.core.cluster.RedisClusterClient
import io.lettuce.core.cluster.api.StatefulRedisClusterConnection
import io.lettuce.core.cluster.api.async.RedisClusterAsyncCommands
import io.lettuce.core.pubsub.RedisPubSubAdapter
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection
import java.time.Duration
import java.util.concurrent.ExecutionException
import java.util.concurrent.TimeUnit.MILLISECONDS
import java.util.concurrent.TimeoutException
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/** A [RedisStore] over Lettuce. It opens two connections of your client's, and the first use opens them: [close] ends them. */
public class LettuceStore private constructor(
    prefix: String,
    address: String?,
    insecurePlaintext: Boolean,
    private val timeout: Duration,
    private val connect: () -> StatefulConnection<String, String>,
    private val connectPubSub: () -> StatefulRedisPubSubConnection<String, String>,
) : RedisStore(prefix, address, insecurePlaintext) {
    /**
     * Over one server, or one that Sentinel knows of.
     *
     * @param client your client, made with the server's address
     * @param prefix what the names of keys and of the channel begin with
     * @param address that address once more: then a remote one without TLS is refused, for tokens go over it
     * @param insecurePlaintext permits that all the same
     * @param timeout how long a command may take; more than the policy's `storeTimeout` is of no use
     * @throws dev.remint.UsageException if [address] is remote and without TLS
     */
    @JvmOverloads
    public constructor(
        client: RedisClient, prefix: String = "remint:", address: String? = null, insecurePlaintext: Boolean = false, timeout: Duration = SECOND,
    ) : this(prefix, address, insecurePlaintext, timeout, { client.connect() }, { client.connectPubSub() })

    /** The same over a cluster. */
    @JvmOverloads
    public constructor(
        client: RedisClusterClient, prefix: String = "remint:", address: String? = null, insecurePlaintext: Boolean = false, timeout: Duration = SECOND,
    ) : this(prefix, address, insecurePlaintext, timeout, { client.connect() }, { client.connectPubSub() })

    // Held while the connection is opened.
    private val opening = ReentrantLock()
    @Volatile private var connection: StatefulConnection<String, String>? = null

    override fun field(name: String, field: String): String? = command { hget(name, field) }

    override fun run(script: Script, name: String, arguments: List<String>): List<*> {
        val (names, values) = arrayOf(name) to arguments.toTypedArray()
        return try {
            command { evalsha<List<*>>(script.digest, ScriptOutputType.MULTI, names, *values) }
        } catch (_: RedisNoScriptException) {
            command { eval<List<*>>(script.text, ScriptOutputType.MULTI, names, *values) }
        }
    }

    override fun listen(channel: String): AutoCloseable {
        val messages = connecting(connectPubSub)
        messages.addListener(Messages())
        messages.async().subscribe(channel)
        return AutoCloseable { messages.close() }
    }

    override fun close() {
        super.close()
        opening.withLock {
            connection?.close()
            connection = null
        }
    }

    private fun <T> command(send: RedisClusterAsyncCommands<String, String>.() -> RedisFuture<T>): T {
        val sent = open().commands().send()
        try {
            return sent.get(timeout.toMillis(), MILLISECONDS)
        } catch (_: TimeoutException) {
            // Where it was not sent yet, it never is.
            sent.cancel(true)
            throw RedisCommandTimeoutException("Redis has not answered in time")
        } catch (failed: ExecutionException) {
            throw when (val cause = failed.cause) {
                is RedisNoScriptException -> cause
                // Redis says no before a script has written anything. Its words may repeat ours.
                is RedisCommandExecutionException -> StoreDownException("Redis refuses the command: ${reason(cause)}")
                else -> cause ?: failed
            }
        }
    }

    private fun StatefulConnection<String, String>.commands(): RedisClusterAsyncCommands<String, String> =
        if (this is StatefulRedisClusterConnection) async() else (this as StatefulRedisConnection).async()

    private fun open(): StatefulConnection<String, String> = connection ?: opening.withLock {
        connection ?: connecting(connect).also { connection = it }
    }

    private fun <T> connecting(connect: () -> T): T = try {
        connect()
    } catch (refused: RedisConnectionException) {
        throw StoreDownException("Redis cannot be reached", refused)
    }

    private inner class Messages : RedisPubSubAdapter<String, String>() {
        private var isAgain = false

        override fun message(channel: String, message: String): Unit = heard(message)

        /** Lettuce connects again by itself, and says so here. */
        override fun subscribed(channel: String, count: Long) {
            if (isAgain) missed()
            isAgain = true
        }
    }

    private companion object {
        val SECOND: Duration = Duration.ofSeconds(1)
    }
}
