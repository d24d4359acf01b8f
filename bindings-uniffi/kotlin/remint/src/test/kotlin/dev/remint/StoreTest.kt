package dev.remint

import dev.remint.core.Secret
import dev.remint.core.StoreCommand
import dev.remint.core.StoreResult
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.IOException
import java.lang.ref.WeakReference
import java.time.Duration
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import java.util.function.Consumer
import java.util.logging.Logger

class StoreTest {
    private val clock = TestClock()
    private val server = TestServer()

    private fun answer(command: StoreCommand, store: Store): StoreResult = SharedStore(store, clock, Runnable::run).answer("k", command).first

    @Test
    fun `what the three functions say is what the core hears`() {
        clock.advance(1_000)
        val store = Shelf()
        assertEquals(StoreResult.Missing, answer(StoreCommand.Load, store))
        assertEquals(StoreResult.Locked(null), answer(StoreCommand.Lock("a", 60_000), store))
        assertEquals(StoreResult.Ok, answer(StoreCommand.Save(null, Secret("one"), 1, "b"), store))
        assertEquals(StoreResult.Found(Secret("one")), answer(StoreCommand.Load, store))
        val held = answer(StoreCommand.Lock("b", 60_000), store) as StoreResult.Held
        assertEquals(Secret("one"), held.record)
        assertTrue(held.retryAt in 61_000..61_001, "${held.retryAt}")
        assertEquals(StoreResult.Conflict(Secret("one")), answer(StoreCommand.Save(null, Secret("two"), 1, null), store))
        assertEquals(StoreResult.Ok, answer(StoreCommand.Lock("a", 0), store))
        assertEquals(StoreResult.Locked(Secret("one")), answer(StoreCommand.Lock("b", 60_000), store))
    }

    @Test
    fun `a store that throws is down, but after a lock or a save nobody knows, unless it says that nothing was written`() {
        val unsure = Shelf(failure = IOException("reset"))
        val sure = Shelf(failure = StoreDownException("refused"))
        val save = StoreCommand.Save(null, Secret("one"), 1, null)
        assertEquals(StoreResult.Down, answer(StoreCommand.Load, unsure))
        for (command in listOf(save, StoreCommand.Lock("a", 1))) {
            assertEquals(StoreResult.Unknown, answer(command, unsure))
            assertEquals(StoreResult.Down, answer(command, sure))
        }
    }

    @Test
    fun `a store is asked off the caller's thread, and one that fails does not keep a token from a client of its own credentials`() {
        val caller = Thread.currentThread()
        val asked = ConcurrentLinkedQueue<Thread>()
        val failure = IllegalStateException("the database is away")
        val store = object : Store by Shelf(failure = failure) {
            override fun lock(key: String, owner: String, ttl: Duration): LockResult {
                asked += Thread.currentThread()
                throw failure
            }
        }
        val notices = ConcurrentLinkedQueue<Notice>()
        val client = client(server, SystemClock) {
            store(store)
            onNotice(notices::add)
        }
        // The fetch may wait a moment, so that not all processes fetch at once.
        assertEquals("T1", client.tokenBlocking(timeout = Duration.ofSeconds(30)).accessToken)
        assertTrue(asked.isNotEmpty() && caller !in asked)
        val down = notices.single { it.name == "store_down" }
        assertSame(failure, down.cause)
        assertFalse("away" in down.toString())
        assertNull(notices.single { it.name == "fetched" }.cause)
    }

    @Test
    fun `a rotation without its store fails with what the store threw, and a server's no is not put down to the store`() {
        val failure = IllegalStateException("the database is away")
        val person = Client(PERSON, "id", "s3cret") {
            http(server)
            clock(SystemClock)
            store(Shelf(failure = failure))
        }.withSubject("ann", "R1")
        val unavailable = thrown<TransportException> { person.tokenBlocking(timeout = Duration.ofSeconds(30)) }
        assertEquals("store_unavailable", unavailable.code)
        assertSame(failure, unavailable.cause)
        server.answer = { TestServer.completed(TestServer.json(401, """{"error":"invalid_client"}""")) }
        val refused = thrown<ServerException> { client(server, SystemClock) { store(Shelf(failure = failure)) }.tokenBlocking(timeout = Duration.ofSeconds(30)) }
        assertEquals("invalid_client", refused.code)
        assertNull(refused.cause)
    }

    @Test
    fun `a token goes from one client to the next by the store, and a change that is told makes them look again`() {
        val store = Shelf()
        val (one, other) = List(2) { client(server, clock) { store(store) } }
        assertEquals("T1", one.tokenBlocking().accessToken)
        assertEquals("T1", other.tokenBlocking().accessToken)
        assertEquals(1, server.count)
        assertTrue(store.hasSubscribers(2))
        assertNotNull(one.peek())
        val asked = store.commands.size
        store.tell(null)
        assertNull(one.peek())
        assertEquals("T1", one.tokenBlocking().accessToken)
        assertTrue(store.commands.size > asked)
        assertEquals(1, server.count)
    }

    @Test
    fun `a client that is closed ends its subscription and leaves the store to the others`() {
        val store = Shelf()
        val (one, other) = List(2) { client(server, clock) { store(store) }.also { it.tokenBlocking() } }
        assertTrue(store.hasSubscribers(2))
        one.close()
        assertTrue(store.hasSubscribers(1))
        store.tell(null)
        assertEquals("T1", other.tokenBlocking().accessToken)
    }

    @Test
    fun `a subscription that fails is tried again with the next use`() {
        val log = Logger.getLogger("dev.remint").apply { useParentHandlers = false }
        try {
            val store = Shelf(refusals = 1)
            val client = client(server, clock) { store(store) }
            assertEquals("T1", client.tokenBlocking().accessToken)
            val met = (1..500).any {
                client.invalidateBlocking()
                client.tokenBlocking()
                Thread.sleep(2)
                store.hasSubscribers(1, patience = 0)
            }
            assertTrue(met)
        } finally {
            log.useParentHandlers = true
        }
    }

    @Test
    fun `a client that nobody has any more is not kept by its store`() {
        val store = Shelf()
        val gone = abandoned(store)
        assertTrue(store.hasSubscribers(1))
        assertTrue((1..200).any { System.gc(); Thread.sleep(5); gone.get() == null })
        store.tell("k")
    }

    @Test
    fun `records are encrypted with the keys of the option, and what they are is checked`() {
        val store = Shelf()
        val key = StoreKey("2026-11", ByteArray(32) { 7 })
        assertEquals("T1", client(server, clock) { store(store); storeKeys(key) }.tokenBlocking().accessToken)
        assertEquals("T1", client(server, clock) { store(store); storeKeys(StoreKey("2026-12", "A".repeat(43)), key) }.tokenBlocking().accessToken)
        assertEquals(1, server.count)
        assertFalse(store.records.values.any { "access_token" in it }, "a record is in the clear")
        val short = thrown<UsageException> { client(server, clock) { store(store); storeKeys(StoreKey("2026-11", ByteArray(16))) } }
        assertEquals("invalid_option", short.code)
        assertTrue("storeKeys" in short.message!!, short.message)
        assertEquals("invalid_option", thrown<UsageException> { client(server, clock) { store(store); storeKeys() } }.code)
    }

    // A function of its own, whose frame does not keep the client.
    private fun abandoned(store: Store) = WeakReference(client(server, clock) { store(store) }.also { it.tokenBlocking() })

    private companion object {
        const val PERSON = """{"name":"app","title":"App","grants":["authorization_code"],
            "token":{"endpoint":"https://auth.example.com/token","client_auth":["client_secret_post"]},
            "authorization":{"endpoint":"https://auth.example.com/authorize","issuer":"https://auth.example.com"},
            "api_origins":["https://api.example.com"]}"""
    }
}

/** A store in memory, which fails if it has a failure. */
private class Shelf(private val failure: Exception? = null, refusals: Int = 0) : Store {
    val records = HashMap<String, String>()
    val commands = ConcurrentLinkedQueue<String>()
    private val leases = HashMap<String, String>()
    private val subscribers = ConcurrentLinkedQueue<Consumer<String?>>()
    private val refusals = AtomicInteger(refusals)

    override fun load(key: String): String? = step("load") { records[key] }

    override fun lock(key: String, owner: String, ttl: Duration): LockResult = step("lock") {
        when {
            ttl.isZero -> Locked(records[key]).also { leases.remove(key, owner) }
            leases.getOrPut(key) { owner } == owner -> Locked(records[key])
            else -> Held(ttl, records[key])
        }
    }

    override fun save(key: String, expect: String?, record: String, ttl: Duration, unlock: String?): SaveResult = step("save") {
        if (records[key] != expect) return@step Conflict(records[key])
        records[key] = record
        if (unlock != null) leases.remove(key, unlock)
        Saved()
    }

    override fun subscribe(onChanged: Consumer<String?>): AutoCloseable {
        if (refusals.getAndDecrement() > 0) throw IOException("not yet")
        subscribers += onChanged
        return AutoCloseable { subscribers -= onChanged }
    }

    fun tell(key: String?) = subscribers.forEach { it.accept(key) }

    /** Whether there are so many, which comes about beside the callers. */
    fun hasSubscribers(count: Int, patience: Int = 1_000): Boolean = (0..patience).any {
        if (it > 0) CountDownLatch(1).await(5, TimeUnit.MILLISECONDS)
        subscribers.size == count
    }

    private fun <T> step(name: String, block: () -> T): T = synchronized(this) {
        commands += name
        failure?.let { throw it }
        block()
    }
}
