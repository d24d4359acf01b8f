package dev.remint

import java.util.concurrent.CompletableFuture
import java.util.concurrent.Executor
import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadFactory
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit.MILLISECONDS
import java.util.concurrent.TimeUnit.SECONDS
import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/** The threads that all clients of a process share. They are daemons, and end when there is nothing to do. */
internal object Threads {
    private val factory = ThreadFactory { task -> Thread(task, "remint").apply { isDaemon = true } }

    /** For functions of the user's, which may block. */
    val executor: Executor = ThreadPoolExecutor(0, Int.MAX_VALUE, 10, SECONDS, SynchronousQueue(), factory)

    private val timer = ScheduledThreadPoolExecutor(1, factory).apply {
        removeOnCancelPolicy = true
        setKeepAliveTime(10, SECONDS)
        allowCoreThreadTimeOut(true)
    }

    fun schedule(millis: Long, task: Runnable): AutoCloseable {
        // What the task wakes may block: the timer's thread is for nobody.
        val future = timer.schedule({ executor.execute(task) }, millis, MILLISECONDS)
        return AutoCloseable { future.cancel(false) }
    }
    private val lock = ReentrantLock()
    private val held = HashSet<CompletableFuture<Unit>>()
    // What ends may begin something else: after the answer, what came with it is saved. Whoever goes on asking is not waited for.
    private val hook = Thread({ repeat(ROUNDS) { CompletableFuture.allOf(*lock.withLock { held.toTypedArray() }).join() } }, "remint")

    /** The process does not end before [work] does, if it can help it: a refresh token may be on its way. */
    fun hold(work: CompletableFuture<Unit>): Unit = lock.withLock {
        if (held.add(work) && held.size == 1) unlessEnding { Runtime.getRuntime().addShutdownHook(hook) }
    }

    /** There is no hook while nothing is under way: it would keep an application's classes when the application has gone. */
    fun release(work: CompletableFuture<Unit>): Unit = lock.withLock {
        if (held.remove(work) && held.isEmpty()) unlessEnding { Runtime.getRuntime().removeShutdownHook(hook) }
    }

    private inline fun unlessEnding(change: () -> Unit) {
        try {
            change()
        } catch (_: IllegalStateException) {
            // The process is on its way out.
        }
    }

    private const val ROUNDS = 3
}
