import dev.remint.Client
import dev.remint.FileStore
import dev.remint.HttpResponse
import dev.remint.Store
import dev.remint.redis.JedisStore
import dev.remint.redis.LettuceStore
import java.io.File
import java.io.IOException
import java.net.InetAddress
import java.net.ServerSocket
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.CompletableFuture
import java.util.concurrent.atomic.AtomicInteger
import redis.clients.jedis.RedisClient
import redis.clients.jedis.exceptions.JedisException

/** What sharing costs: round trips to a real Redis, and how long a process with a warm store takes to its token. */
internal fun sharing() {
    val folder = Files.createTempDirectory("bench")
    try {
        redisServer(folder).use { redis ->
            roundTrips(redis)
            starts(redis, folder)
        }
    } catch (missing: IOException) {
        println("\nSharing was not measured: redis-server is missing.")
    } finally {
        folder.toFile().deleteRecursively()
    }
}

/** A `redis-server` on a free loopback port, and a client of it. */
private class Redis(private val process: Process, val port: Int) : AutoCloseable {
    val client: RedisClient = RedisClient.create("127.0.0.1", port)

    /** How many commands of a store's the server has counted. */
    fun commands(): Int = COMMAND.findAll(client.info("commandstats")).sumOf { it.groupValues[1].toInt() }

    override fun close() {
        client.close()
        process.destroy()
        process.waitFor()
    }

    private companion object {
        val COMMAND = Regex("cmdstat_(?:evalsha|eval|hget):calls=(\\d+)")
    }
}

private fun redisServer(folder: Path): Redis {
    val port = ServerSocket(0, 1, InetAddress.getLoopbackAddress()).use { it.localPort }
    val words = listOf("redis-server", "--port", "$port", "--bind", "127.0.0.1", "--save", "", "--dir", "$folder")
    val redis = Redis(ProcessBuilder(words).redirectOutput(ProcessBuilder.Redirect.DISCARD).start(), port)
    for (attempt in 1..500) {
        try {
            redis.client.ping()
            return redis
        } catch (_: JedisException) {
            Thread.sleep(20)
        }
    }
    redis.close()
    throw IOException("redis-server does not answer")
}

private fun shared(store: Store, requests: AtomicInteger = AtomicInteger()): Client = Client("phoenix-wallet", ID, SECRET) {
    store(store)
    // A JVM that has just started may take longer to its first connection than a store may: what is measured is the store.
    policy(mapOf("storeTimeout" to 30))
    http {
        requests.incrementAndGet()
        CompletableFuture.completedFuture(HttpResponse(200, mapOf("content-type" to listOf("application/json")), ANSWER))
    }
}

private fun lettuce(port: Int): Store = LettuceStore(io.lettuce.core.RedisClient.create("redis://127.0.0.1:$port"))

/** As the server counts commands. The giving back of a lease is one of them, and nobody waits for it. */
private fun roundTrips(redis: Redis) {
    fun counted(act: () -> Unit): Double {
        val before = redis.commands()
        act()
        Thread.sleep(200)
        return (redis.commands() - before).toDouble()
    }
    val stores = listOf("Lettuce" to ::lettuce, "Jedis" to { port: Int -> JedisStore(RedisClient.create("127.0.0.1", port)) })
    val rows = stores.flatMap { (name, make) ->
        // The scripts are there from the first process on.
        shared(make(redis.port)).use { it.tokenBlocking() }
        redis.client.keys("remint:*").forEach { redis.client.del(it) }
        shared(make(redis.port)).use { first ->
            listOf(
                Limit("$name: a cold start: lock, and save with unlock", counted { first.tokenBlocking() }, "", 2.0),
                Limit("$name: a start with a warm store: lock, and the lease given back aside", counted { shared(make(redis.port)).use { it.tokenBlocking() } }, "", 2.0),
                Limit("$name: 1,000 cached calls", counted { repeat(1000) { first.tokenBlocking() } }, "", 0.0),
            )
        }
    }
    limits("Round trips to Redis", rows)
}

/** Fresh processes, of which the first asks for a token and no other does. */
private fun starts(redis: Redis, folder: Path) {
    fun run(where: String): Pair<Double, Int> {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val words = listOf(java, "-cp", System.getProperty("java.class.path"), Warm::class.java.name, where)
        val process = ProcessBuilder(words).redirectError(ProcessBuilder.Redirect.INHERIT).start()
        val (time, requests) = process.inputReader().readText().trim().split(' ')
        check(process.waitFor() == 0)
        return time.toDouble() to requests.toInt()
    }
    val rows = listOf("Redis, by Lettuce" to "${redis.port}", "a folder" to "$folder/tokens").map { (name, where) ->
        redis.client.flushAll()
        val runs = List(STARTS) { run(where) }
        check(runs.map { it.second } == listOf(1) + List(STARTS - 1) { 0 }) { "$runs" }
        Limit("$name: from `main` to a first token", median(runs.drop(1).map { it.first }), "ms")
    }
    limits("A process starts with a warm store", rows)
}

/** A process with a store: how many milliseconds it took to its token, and the requests. */
internal object Warm {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val start = System.nanoTime()
        val where = arguments.single()
        val requests = AtomicInteger()
        val client = shared(if (where.startsWith("/")) FileStore(Path.of(where)) else lettuce(where.toInt()), requests)
        check(client.tokenBlocking().accessToken == TOKEN)
        println("${(System.nanoTime() - start) / 1e6} ${requests.get()}")
        client.close()
    }
}

private const val STARTS = 8
