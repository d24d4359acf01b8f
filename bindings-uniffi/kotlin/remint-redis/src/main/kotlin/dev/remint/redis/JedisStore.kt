package dev.remint.redis

import dev.remint.StoreDownException
import java.net.ConnectException
import java.net.NoRouteToHostException
import java.net.UnknownHostException
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit.MILLISECONDS
import redis.clients.jedis.JedisPubSub
import redis.clients.jedis.UnifiedJedis
import redis.clients.jedis.exceptions.JedisDataException
import redis.clients.jedis.exceptions.JedisException
import redis.clients.jedis.exceptions.JedisNoScriptException

/**
 * A [RedisStore] over Jedis: a `RedisClient`, `RedisClusterClient` or `RedisSentinelClient`. It takes connections from your client's pool, one of them for as long as
 * messages are listened to.
 *
 * @param client your client; its socket timeout bounds a command: more than the policy's `storeTimeout` is of no use
 * @param prefix what the names of keys and of the channel begin with
 * @param address your client's address once more: then a remote one without TLS is refused, for tokens go over it
 * @param insecurePlaintext permits that all the same
 * @throws dev.remint.UsageException if [address] is remote and without TLS
 */
public class JedisStore @JvmOverloads constructor(
    private val client: UnifiedJedis,
    prefix: String = "remint:",
    address: String? = null,
    insecurePlaintext: Boolean = false,
) : RedisStore(prefix, address, insecurePlaintext) {
    override fun field(name: String, field: String): String? = command { client.hget(name, field) }

    override fun run(script: Script, name: String, arguments: List<String>): List<*> = command {
        try {
            client.evalsha(script.digest, listOf(name), arguments)
        } catch (_: JedisNoScriptException) {
            client.eval(script.text, listOf(name), arguments)
        }
    } as List<*>

    override fun listen(channel: String): AutoCloseable = Messages(channel).apply { start() }

    private inline fun <T> command(send: () -> T): T = try {
        send()
    } catch (refused: JedisDataException) {
        // Redis says no before a script has written anything. Its words may repeat ours.
        throw StoreDownException("Redis refuses the command: ${reason(refused)}")
    } catch (failed: JedisException) {
        if (isNotSent(failed)) throw StoreDownException("Redis cannot be reached", failed)
        throw failed
    }

    /** Whether there was no connection that anything could have gone over. Jedis hides the reason of each address that it tried. */
    private fun isNotSent(failed: Throwable): Boolean = generateSequence(failed) { it.cause }.take(MAX_CAUSES).any { error ->
        (listOf(error) + error.suppressed).any { it is ConnectException || it is UnknownHostException || it is NoRouteToHostException }
    }

    /** A thread that waits for messages, and connects again when its connection is lost. It keeps no process alive. */
    private inner class Messages(private val channel: String) : JedisPubSub(), AutoCloseable {
        private val ended = CountDownLatch(1)
        private var pause = MIN_PAUSE
        private var isAgain = false

        fun start() = Thread(::waitForMessages, "remint-redis").apply { isDaemon = true }.start()

        private fun waitForMessages() {
            while (ended.count > 0) {
                try {
                    client.subscribe(this, channel)
                } catch (_: JedisException) {
                    // The store's commands say so to the client, which has them to deal with.
                }
                ended.await(pause, MILLISECONDS)
                pause = (pause * 2).coerceAtMost(MAX_PAUSE)
            }
        }

        override fun onSubscribe(channel: String, count: Int) {
            pause = MIN_PAUSE
            // Closed while it was connecting.
            if (ended.count == 0L) return unsubscribe()
            if (isAgain) missed()
            isAgain = true
        }

        override fun onMessage(channel: String, message: String): Unit = heard(message)

        override fun close() {
            ended.countDown()
            try {
                if (isSubscribed) unsubscribe()
            } catch (_: JedisException) {
                // The connection is lost, and with it the subscription.
            }
        }
    }

    private companion object {
        const val MAX_CAUSES = 8
        const val MIN_PAUSE = 100L
        const val MAX_PAUSE = 5_000L
    }
}
