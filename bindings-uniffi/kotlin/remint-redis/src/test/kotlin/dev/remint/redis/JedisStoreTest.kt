package dev.remint.redis

import java.net.URI
import redis.clients.jedis.DefaultJedisClientConfig
import redis.clients.jedis.HostAndPort
import redis.clients.jedis.RedisClient
import redis.clients.jedis.RedisClusterClient
import redis.clients.jedis.RedisSentinelClient

class JedisStoreTest : RedisStoreContract() {
    private val brief = DefaultJedisClientConfig.builder().socketTimeoutMillis(1_000).connectionTimeoutMillis(1_000).build()

    override fun over(address: String, prefix: String): RedisStore {
        val port = URI(address).port
        return JedisStore(RedisClient.builder().hostAndPort("127.0.0.1", port).clientConfig(brief).build().ending(), prefix, address).ending()
    }

    override fun overCluster(port: Int): RedisStore =
        JedisStore(RedisClusterClient.builder().nodes(setOf(HostAndPort("127.0.0.1", port))).clientConfig(brief).build().ending()).ending()

    override fun overSentinel(port: Int): RedisStore = JedisStore(
        RedisSentinelClient.builder().masterName("tokens").sentinels(setOf(HostAndPort("127.0.0.1", port))).clientConfig(brief).build().ending(),
    ).ending()

    override fun of(address: String?, insecurePlaintext: Boolean): RedisStore =
        JedisStore(RedisClient.create("127.0.0.1", 6379).ending(), address = address, insecurePlaintext = insecurePlaintext).ending()
}
