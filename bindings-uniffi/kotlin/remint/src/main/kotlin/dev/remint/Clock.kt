package dev.remint

/**
 * Both clocks, in milliseconds, and timers. For tests, and for Android: pass one whose [boot] is
 * `SystemClock.elapsedRealtime()`, which goes on while the device sleeps.
 *
 * It is read on every call, from any thread.
 */
public interface Clock {
    /** Unix time. */
    public fun wall(): Long

    /** A clock that never goes back, from any fixed point that is not negative. */
    public fun boot(): Long

    /** Runs [task] once, [millis] from now or later, on any thread; closing the result cancels it. A thread of the library's unless overridden. */
    public fun schedule(millis: Long, task: Runnable): AutoCloseable = Threads.schedule(millis, task)
}

/**
 * The machine's clocks. `System.nanoTime` may stand still while a machine is suspended, which the wall clock does not:
 * a token has run out when either says so.
 */
internal object SystemClock : Clock {
    private val origin = System.nanoTime()

    override fun wall(): Long = System.currentTimeMillis()

    override fun boot(): Long = (System.nanoTime() - origin) / 1_000_000
}
