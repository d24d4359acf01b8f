package dev.remint.redis

import io.lettuce.core.RedisClient
import io.lettuce.core.RedisURI
import io.lettuce.core.cluster.RedisClusterClient
import java.time.Duration

class LettuceStoreTest : RedisStoreContract() {
    override fun over(address: String, prefix: String): RedisStore = LettuceStore(client(RedisURI.create(address)), prefix, address).ending()

    override fun overCluster(port: Int): RedisStore {
        val client = RedisClusterClient.create("redis://127.0.0.1:$port").closing { it.shutdown(Duration.ZERO, Duration.ofSeconds(5)) }
        return LettuceStore(client).ending()
    }

    override fun overSentinel(port: Int): RedisStore = LettuceStore(client(RedisURI.create("redis-sentinel://127.0.0.1:$port#tokens"))).ending()

    override fun of(address: String?, insecurePlaintext: Boolean): RedisStore =
        LettuceStore(client(RedisURI.create("redis://127.0.0.1")), address = address, insecurePlaintext = insecurePlaintext).ending()

    private fun client(address: RedisURI): RedisClient = RedisClient.create(address).closing { it.shutdown(Duration.ZERO, Duration.ofSeconds(5)) }

    private fun <T> T.closing(close: (T) -> Unit): T = also { AutoCloseable { close(it) }.ending() }
}
