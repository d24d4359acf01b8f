package dev.remint.redis

import dev.remint.Client
import dev.remint.Conflict
import dev.remint.Held
import dev.remint.HttpResponse
import dev.remint.Locked
import dev.remint.Saved
import dev.remint.Store
import dev.remint.StoreDownException
import dev.remint.Transport
import dev.remint.UsageException
import dev.remint.stores.StoreContract
import java.nio.file.Path
import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.atomic.AtomicInteger
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** What a store does over either client, with real servers. */
abstract class RedisStoreContract : StoreContract() {
    @TempDir lateinit var folder: Path
    lateinit var server: RedisServer
    private val made = CopyOnWriteArrayList<AutoCloseable>()

    /** A store over a client of one server, with a timeout of a second. */
    abstract fun over(address: String, prefix: String = "remint:"): RedisStore

    /** A store over a client of the cluster that this node is all of. */
    abstract fun overCluster(port: Int): RedisStore

    /** A store over a client that asks this Sentinel for `tokens`. */
    abstract fun overSentinel(port: Int): RedisStore

    /** A store of a client that nothing is done with, for what is checked when a store is made. */
    abstract fun of(address: String?, insecurePlaintext: Boolean = false): RedisStore

    /** Ends it with the test. */
    fun <T : AutoCloseable> T.ending(): T = also(made::add)

    override fun store(): Store = over(server.address)

    @BeforeEach
    fun start() {
        server = RedisServer(folder)
    }

    @AfterEach
    fun end() {
        made.reversed().forEach(AutoCloseable::close)
        server.close()
    }

    @Test
    fun `one hash with a time to live is all that is stored`() {
        val store = over(server.address, "app:")
        store.lock(KEY, "a", MINUTE)
        assertTrue(server.ask("PTTL", "app:$KEY").drop(1).toLong() in 50_000..60_000)
        store.put("one", ttl = Duration.ofHours(1))
        assertTrue(server.ask("PTTL", "app:$KEY").drop(1).toLong() > 3_500_000)
        store.lock(KEY, "a", Duration.ofSeconds(1))
        assertTrue(server.ask("PTTL", "app:$KEY").drop(1).toLong() > 3_500_000)
        assertEquals(":1", server.ask("DBSIZE"))
        assertEquals("+hash", server.ask("TYPE", "app:$KEY"))
        over(server.address, "app:").lock("gone", "a", MINUTE)
        store.lock("gone", "a", Duration.ZERO)
        assertEquals(":1", server.ask("DBSIZE"))
    }

    @Test
    fun `a server that has forgotten the scripts is given them again`() {
        val store = store()
        store.lock(KEY, "a", MINUTE)
        assertEquals("+OK", server.ask("SCRIPT", "FLUSH"))
        assertInstanceOf(Saved::class.java, store.put("one", unlock = "a"))
        assertEquals("one", (store.lock(KEY, "b", MINUTE) as Locked).record)
    }

    @Test
    fun `others hear of what was written, and the writer does not`() {
        val (one, other) = List(2) { over(server.address) }
        val (toOne, toOther) = List(2) { CopyOnWriteArrayList<String?>() }
        one.subscribe(toOne::add).ending()
        val subscription = other.subscribe(toOther::add).ending()
        eventually("both listen") { server.ask("PUBLISH", "remint:changed", "probe") == ":2" }
        one.put("one")
        eventually("the other hears") { KEY in toOther }
        eventually("the probes are there") { "probe" in toOne }
        other.put("two")
        other.put("two", expect = "one")
        eventually("the one hears") { KEY in toOne }
        assertEquals(1, toOther.count { it == KEY })
        subscription.close()
        eventually("it listens no more") { server.ask("PUBLISH", "remint:changed", "probe") == ":1" }
    }

    @Test
    fun `two clients of one store hear of each other`() {
        val store = over(server.address)
        val heard = List(2) { CopyOnWriteArrayList<String?>() }
        heard.forEach { store.subscribe(it::add).ending() }
        eventually("it listens, once") { server.ask("PUBLISH", "remint:changed", "probe") == ":1" }
        store.put("one")
        eventually("both hear") { heard.all { KEY in it } }
    }

    @Test
    fun `after a lost connection everything may have changed`() {
        RedisServer(folder).use { own ->
            val store = over(own.address)
            val heard = CopyOnWriteArrayList<String?>()
            store.subscribe(heard::add).ending()
            eventually("it listens") { own.ask("PUBLISH", "remint:changed", "probe") == ":1" }
            assertFalse(null in heard)
            own.restart()
            eventually("it says so") { null in heard }
            eventually("commands go through again") { runCatching { store.load(KEY) }.isSuccess }
        }
    }

    @Test
    fun `what was cut off and sent again by a client is saved`() {
        val store = store()
        store.put("one")
        // As the client's repetition finds it: the first one was carried out.
        assertInstanceOf(Saved::class.java, store.put("one"))
        assertEquals("one", (store.put("two", expect = "none") as Conflict).record)
    }

    @Test
    fun `a server that is not there, or refuses, is down, and says nothing of the record`() {
        val nobody = over("redis://127.0.0.1:${RedisServer.freePort()}")
        assertThrows(StoreDownException::class.java) { nobody.put("s3cret") }
        RedisServer(folder, "--replicaof", "127.0.0.1 ${server.port}").use { replica ->
            val readOnly = assertThrows(StoreDownException::class.java) { over(replica.address).put("s3cret") }
            // Until it has synchronized it says something else.
            eventually("it is a replica") { runCatching { over(replica.address).put("s3cret") }.exceptionOrNull()?.message == "Redis refuses the command: READONLY" }
            assertFalse("s3cret" in readOnly.stackTraceToString())
        }
        RedisServer(folder, "--rename-command", "EVALSHA", "").use { crippled ->
            val refused = assertThrows(StoreDownException::class.java) { over(crippled.address).put("s3cret", expect = "s3cret") }
            assertFalse("s3cret" in refused.stackTraceToString(), refused.stackTraceToString())
        }
        RedisServer(folder, "--maxmemory", "1").use { full ->
            assertEquals("Redis refuses the command: OOM", assertThrows(StoreDownException::class.java) { over(full.address).put("s3cret") }.message)
        }
    }

    @Test
    fun `a server that stops answering in the middle leaves a save unknown`() {
        RedisServer(folder).use { own ->
            val store = over(own.address)
            store.put("one")
            assertEquals("+OK", own.ask("CLIENT", "PAUSE", "60000"))
            val failed = assertThrows(Exception::class.java) { store.put("two", expect = "one") }
            assertFalse(failed is StoreDownException, "$failed")
        }
    }

    @Test
    fun `in a cluster a record is one key in one slot`() {
        RedisServer(folder, "--cluster-enabled", "yes", "--cluster-config-file", "nodes-${System.nanoTime()}").use { node ->
            assertEquals("+OK", node.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383"))
            eventually("the cluster is whole") { node.ask("GET", "x") == "$-1" }
            val store = overCluster(node.port)
            val heard = CopyOnWriteArrayList<String?>()
            store.subscribe(heard::add).ending()
            eventually("it listens") { node.ask("PUBLISH", "remint:changed", "probe") == ":1" }
            assertInstanceOf(Locked::class.java, store.lock(KEY, "a", MINUTE))
            assertInstanceOf(Saved::class.java, overCluster(node.port).put("one"))
            assertInstanceOf(Held::class.java, overCluster(node.port).lock(KEY, "b", MINUTE))
            eventually("it hears") { KEY in heard }
            assertEquals("one", store.load(KEY))
        }
    }

    @Test
    fun `the server that Sentinel names is used`() {
        val configuration = folder.resolve("sentinel-${System.nanoTime()}.conf")
        java.nio.file.Files.writeString(configuration, "sentinel monitor tokens 127.0.0.1 ${server.port} 1\n")
        RedisServer(folder, "$configuration", "--sentinel").use { sentinel ->
            val store = overSentinel(sentinel.port)
            assertInstanceOf(Saved::class.java, store.put("one"))
            assertEquals("one", store().load(KEY))
        }
    }

    @Test
    fun `tokens do not go to another machine without TLS unless somebody says so`() {
        for (address in listOf("redis://redis.example.com", "redis://u:p@10.0.0.1:6379/0", "redis://127.0.0.1,10.0.0.1", "redis-sentinel://a.example:1#m", "redis://[fe80::1]:1", "10.0.0.1")) {
            val refused = assertThrows(UsageException::class.java, { of(address) }, address)
            assertEquals("invalid_option", refused.code)
            assertFalse("u:p" in refused.message!!)
            if ("://" in address) of(address, insecurePlaintext = true)
        }
        for (address in listOf("rediss://redis.example.com", "REDISS://10.0.0.1", "redis://127.0.0.1:6379", "redis://u:p@localhost", "redis://[::1]:6379/0", "redis-socket:///run/redis", null)) of(address)
    }

    @Test
    fun `the scripts are those of all languages`() {
        // The checkout's folder, from that of this module, where Maven runs the tests.
        val scripts = Path.of("../../../tests/stores/redis")
        for (name in listOf("lock", "save")) assertEquals(java.nio.file.Files.readString(scripts.resolve("$name.lua")), Script(name).text)
    }

    @Test
    fun `a fleet asks for one token, a cold start is two round trips, and a change reaches the others`() {
        val requests = AtomicInteger()
        val transport = Transport {
            val token = """{"access_token":"T${requests.incrementAndGet()}","token_type":"Bearer","expires_in":3600}"""
            CompletableFuture.completedFuture(HttpResponse(200, mapOf("content-type" to listOf("application/json")), token.toByteArray()))
        }
        fun client() = Client("phoenix-wallet", "id", "s3cret") { http(transport); store(over(server.address)) }.ending()
        val first = client()
        assertEquals("T1", first.tokenBlocking().accessToken)
        val others = List(3) { client() }
        assertEquals(List(3) { "T1" }, others.map { it.tokenBlocking().accessToken })
        assertEquals(1, requests.get())
        eventually("all listen") { server.ask("PUBLISH", "remint:changed", "probe") == ":4" }
        val token = others[0].tokenBlocking(force = true)
        assertEquals("T2", token.accessToken)
        eventually("the new token is everybody's") { (others + first).all { it.tokenBlocking().accessToken == "T2" } }
        assertEquals(2, requests.get())
    }
}
