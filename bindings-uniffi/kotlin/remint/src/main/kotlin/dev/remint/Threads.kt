package dev.remint

import java.util.concurrent.Executor
import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadFactory
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit.MILLISECONDS
import java.util.concurrent.TimeUnit.SECONDS

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
}
