package dev.remint.stores

import dev.remint.Conflict
import dev.remint.Held
import dev.remint.LockResult
import dev.remint.Locked
import dev.remint.SaveResult
import dev.remint.Saved
import dev.remint.Store
import java.time.Duration
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** What every store does with its three functions. */
abstract class StoreContract {
    /** A store as another process would have it: of the same records as the others that this makes. */
    abstract fun store(): Store

    private val store by lazy { store() }

    protected fun Store.put(record: String, expect: String? = null, unlock: String? = null, ttl: Duration = MINUTE): SaveResult =
        save(KEY, expect, record, ttl, unlock)

    @Test
    fun `what was saved is there for everybody, to the character`() {
        assertNull(store.load(KEY))
        val record = """{"remint":1,"text":"quotes \" and \\ and ' and %, 0x7f: ${'\u007f'}"}"""
        assertInstanceOf(Saved::class.java, store.put(record))
        assertEquals(record, store().load(KEY))
        assertNull(store.load("another"))
    }

    @Test
    fun `a record is replaced by those who know what is there, and by nobody else`() {
        assertEquals(null, (store.put("one", expect = "none") as Conflict).record)
        assertInstanceOf(Saved::class.java, store.put("one"))
        assertEquals("one", (store().put("two") as Conflict).record)
        assertEquals("one", (store().put("two", expect = "on") as Conflict).record)
        assertEquals("one", store.load(KEY))
        assertInstanceOf(Saved::class.java, store().put("two", expect = "one"))
        assertEquals("two", store.load(KEY))
    }

    @Test
    fun `one has the lease, the others learn for how long, and what is stored`() {
        assertNull((store.lock(KEY, "a", MINUTE) as Locked).record)
        store.put("one")
        val held = store().lock(KEY, "b", MINUTE) as Held
        assertEquals("one", held.record)
        assertTrue(held.retryIn > Duration.ofSeconds(50) && held.retryIn <= MINUTE, "${held.retryIn}")
        assertEquals("one", (store.lock(KEY, "a", MINUTE) as Locked).record)
        assertInstanceOf(Locked::class.java, store.lock("another", "b", MINUTE))
    }

    @Test
    fun `a lease can be extended by its owner, and is free when its time is over`() {
        store.lock(KEY, "a", Duration.ofMillis(1))
        Thread.sleep(5)
        assertInstanceOf(Locked::class.java, store().lock(KEY, "b", MINUTE))
        store().lock(KEY, "b", MINUTE.multipliedBy(2))
        assertTrue((store.lock(KEY, "a", MINUTE) as Held).retryIn > MINUTE)
    }

    @Test
    fun `a lease is given back by its owner alone`() {
        store.lock(KEY, "a", MINUTE)
        store().lock(KEY, "b", Duration.ZERO)
        assertInstanceOf(Held::class.java, store().lock(KEY, "b", MINUTE))
        assertInstanceOf(Locked::class.java, store.lock(KEY, "a", Duration.ZERO))
        assertInstanceOf(Locked::class.java, store().lock(KEY, "b", MINUTE))
    }

    @Test
    fun `a save ends the lease of the one it names, and a conflict ends none`() {
        store.lock(KEY, "a", MINUTE)
        store.put("one", unlock = "b")
        assertInstanceOf(Held::class.java, store().lock(KEY, "b", MINUTE))
        store.put("two", expect = "none", unlock = "a")
        assertInstanceOf(Held::class.java, store().lock(KEY, "b", MINUTE))
        store.put("two", expect = "one", unlock = "a")
        assertEquals("two", (store().lock(KEY, "b", MINUTE) as Locked).record)
    }

    @Test
    fun `a record is gone when its time is over, and a lease that outlives it is not`() {
        store.put("one", ttl = Duration.ofMillis(1))
        Thread.sleep(20)
        assertNull(store.load(KEY))
        assertInstanceOf(Saved::class.java, store.put("one"))
        store.lock(KEY, "a", MINUTE)
        store.put("two", expect = "one", ttl = Duration.ofMillis(1))
        Thread.sleep(20)
        assertInstanceOf(Held::class.java, store().lock(KEY, "b", MINUTE))
    }

    @Test
    fun `of many at once, one has the lease and one has saved`() {
        val crowd = Executors.newFixedThreadPool(CROWD)
        try {
            val locks = crowd.invokeAll(List(CROWD) { Callable { store().lock(KEY, "$it", MINUTE) } }).map { it.get(60, TimeUnit.SECONDS) }
            assertEquals(1, locks.count { it is Locked }, locks.joinToString())
            val saves = crowd.invokeAll(List(CROWD) { Callable { store().put("record $it") } }).map { it.get(60, TimeUnit.SECONDS) }
            assertEquals(1, saves.count { it is Saved }, saves.joinToString())
            assertTrue(saves.filterIsInstance<Conflict>().all { it.record == store.load(KEY) })
        } finally {
            crowd.shutdown()
        }
    }

    @Test
    fun `neither a store nor what it answers prints a record`() {
        store.put("s3cret")
        val shown: List<Any> = listOf(store, store.lock(KEY, "a", MINUTE), store.lock(KEY, "b", MINUTE), store.put("x"))
        assertTrue(shown[1] is LockResult && shown[2] is Held && shown[3] is Conflict)
        assertFalse("s3cret" in shown.joinToString(), shown.joinToString())
    }

    protected companion object {
        const val KEY = "b0a1-_Z"
        const val CROWD = 8
        val MINUTE: Duration = Duration.ofMinutes(1)
    }
}
