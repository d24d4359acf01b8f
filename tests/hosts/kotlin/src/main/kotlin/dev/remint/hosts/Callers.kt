package dev.remint.hosts

import dev.remint.Client
import dev.remint.Token
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CountDownLatch
import java.util.concurrent.CyclicBarrier
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** One of the ways in which programs ask for tokens at the same time. */
internal interface Callers {
    val title: String

    /** So many callers at once, each with the client that it is given; what became of each. */
    fun ask(count: Int, timeout: Duration = Duration.ofSeconds(30), client: (Int) -> Client): List<Result<Token>>

    fun ask(count: Int, client: Client): List<Token> = ask(count) { client }.map { it.getOrThrow() }
}

/** All that this JVM has. */
internal fun allCallers(): List<Callers> = listOfNotNull(Coroutines, PlatformThreads, VirtualThreads.takeIf { it.exist }, Futures)

internal object Coroutines : Callers {
    override val title = "coroutines"

    override fun ask(count: Int, timeout: Duration, client: (Int) -> Client): List<Result<Token>> = runBlocking(Dispatchers.Default) {
        List(count) { async { runCatching { client(it).token(timeout = timeout) } } }.awaitAll()
    }
}

internal object PlatformThreads : Callers {
    override val title = "threads"

    override fun ask(count: Int, timeout: Duration, client: (Int) -> Client): List<Result<Token>> =
        inThreads(count) { client(it).tokenBlocking(Duration.ZERO, false, timeout) }
}

internal object VirtualThreads : Callers {
    /** Not of this JVM's API before 21. */
    private val factory = runCatching { Executors::class.java.getMethod("newVirtualThreadPerTaskExecutor") }.getOrNull()

    override val title = "virtual threads"
    val exist get() = factory != null

    override fun ask(count: Int, timeout: Duration, client: (Int) -> Client): List<Result<Token>> {
        val executor = factory?.invoke(null) as ExecutorService
        try {
            val gate = CountDownLatch(1)
            val calls = List(count) {
                executor.submit<Result<Token>> {
                    gate.await()
                    runCatching { client(it).tokenBlocking(Duration.ZERO, false, timeout) }
                }
            }
            gate.countDown()
            return calls.map { it.get() }
        } finally {
            executor.shutdown()
        }
    }
}

internal object Futures : Callers {
    override val title = "futures"

    override fun ask(count: Int, timeout: Duration, client: (Int) -> Client): List<Result<Token>> =
        List(count) { client(it).tokenAsync(Duration.ZERO, false, timeout) }.map { future ->
            runCatching { future.get() }.recoverCatching { throw it.cause ?: it }
        }
}

/** Runs something on a thread of its own: the common pool is for those who do not wait. */
internal fun <T> inThread(work: () -> T): CompletableFuture<T> {
    val result = CompletableFuture<T>()
    Thread { runCatching(work).fold(result::complete, result::completeExceptionally) }.apply { isDaemon = true }.start()
    return result
}

/** Runs something on so many threads at the same moment. */
internal fun <T> inThreads(count: Int, work: (Int) -> T): List<Result<T>> {
    val gate = CyclicBarrier(count)
    val results = arrayOfNulls<Result<T>>(count)
    val threads = List(count) { index ->
        val run = Runnable {
            gate.await()
            results[index] = runCatching { work(index) }
        }
        Thread(null, run, "caller-$index", 256 * 1024).apply { isDaemon = true }
    }
    threads.forEach(Thread::start)
    threads.forEach(Thread::join)
    return results.map { it ?: error("a caller ended without an outcome") }
}

internal fun distinct(tokens: List<Token>): Int = tokens.map { it.accessToken }.distinct().size
