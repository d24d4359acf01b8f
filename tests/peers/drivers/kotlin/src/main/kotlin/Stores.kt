package peers

import dev.remint.FileStore
import dev.remint.Store
import dev.remint.redis.JedisStore
import dev.remint.redis.LettuceStore
import io.lettuce.core.ClientOptions
import io.lettuce.core.RedisClient
import io.lettuce.core.RedisURI
import io.lettuce.core.SocketOptions
import io.lettuce.core.cluster.ClusterClientOptions
import io.lettuce.core.cluster.RedisClusterClient
import java.net.URI
import java.nio.file.Path
import java.time.Duration
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.jsonPrimitive
import redis.clients.jedis.DefaultJedisClientConfig
import redis.clients.jedis.HostAndPort
import redis.clients.jedis.RedisSentinelClient
import redis.clients.jedis.RedisClient as Jedis
import redis.clients.jedis.RedisClusterClient as JedisCluster

/** The shared stores of this process, over clients of its own. */
internal class Stores : AutoCloseable {
    private val made = mutableListOf<AutoCloseable>()

    /** `{"file": dir}`; or `redis`: a URL, `cluster` or `sentinel` with `master`: lists of hosts and ports; with `prefix` and `client`: lettuce or jedis. */
    fun of(words: JsonObject): Store {
        val folder = words.text("file")
        if (folder != null) return FileStore(Path.of(folder))
        val prefix = words.text("prefix") ?: "remint:"
        return when (val client = words.text("client") ?: words.text("with") ?: "lettuce") {
            "lettuce" -> lettuce(words, prefix)
            "jedis" -> jedis(words, prefix)
            else -> throw IllegalArgumentException("there is no client `$client`")
        }.also(made::add)
    }

    private fun lettuce(words: JsonObject, prefix: String): LettuceStore {
        val socket = SocketOptions.builder().connectTimeout(PATIENCE).build()
        val cluster = words.addresses("cluster")
        if (cluster != null) {
            val client = RedisClusterClient.create(cluster.map { RedisURI.Builder.redis(it.host, it.port).withTimeout(PATIENCE).build() })
            client.setOptions(ClusterClientOptions.builder().socketOptions(socket).build())
            made += AutoCloseable { client.shutdown(Duration.ZERO, Duration.ofSeconds(1)) }
            return LettuceStore(client, prefix, timeout = PATIENCE)
        }
        val sentinels = words.addresses("sentinel")
        val address = sentinels?.joinToString(",", "redis-sentinel://", "#${words.text("master")}") { "${it.host}:${it.port}" } ?: words.text("redis")
        val client = RedisClient.create(RedisURI.create(address).apply { timeout = PATIENCE })
        client.options = ClientOptions.builder().socketOptions(socket).build()
        made += AutoCloseable { client.shutdown(Duration.ZERO, Duration.ofSeconds(1)) }
        return LettuceStore(client, prefix, address, timeout = PATIENCE)
    }

    private fun jedis(words: JsonObject, prefix: String): JedisStore {
        val millis = PATIENCE.toMillis().toInt()
        val config = DefaultJedisClientConfig.builder().socketTimeoutMillis(millis).connectionTimeoutMillis(millis).build()
        val (cluster, sentinels, address) = Triple(words.addresses("cluster"), words.addresses("sentinel"), words.text("redis"))
        val client = when {
            cluster != null -> JedisCluster.builder().nodes(cluster.toSet()).clientConfig(config).build()
            sentinels != null -> RedisSentinelClient.builder().masterName(words.text("master")).sentinels(sentinels.toSet()).clientConfig(config).build()
            else -> URI(address).run { Jedis.builder().hostAndPort(host, port).clientConfig(config).build() }
        }
        made += client
        return JedisStore(client, prefix, address)
    }

    override fun close() = made.reversed().forEach(AutoCloseable::close)

    private fun JsonObject.text(name: String) = (get(name) as? JsonPrimitive)?.contentOrNull

    private fun JsonObject.addresses(name: String) = (get(name) as? JsonArray)?.map { HostAndPort.from(it.jsonPrimitive.content) }

    private companion object {
        /** What bounds the store is the client's own `store_timeout`. */
        val PATIENCE: Duration = Duration.ofSeconds(10)
    }
}
