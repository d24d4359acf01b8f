package dev.remint.hosts

import java.util.concurrent.CompletableFuture
import java.util.concurrent.ExecutionException
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException

/** The tests of a program, by sentences about behaviour. */
internal class Suite {
    private class Test(val name: String, val isAlone: Boolean, val run: () -> Unit)

    private val tests = mutableListOf<Test>()

    /** A test that runs beside others of its kind. */
    fun test(name: String, run: () -> Unit) {
        tests += Test(name, isAlone = false, run)
    }

    /** A test that needs the machine for itself. */
    fun alone(name: String, run: () -> Unit) {
        tests += Test(name, isAlone = true, run)
    }

    /** Runs those tests whose names have one of the [words]; whether there were any and all passed. */
    fun run(words: List<String>): Boolean {
        val chosen = tests.filter { test -> words.isEmpty() || words.any { it in test.name } }
        val (alone, together) = chosen.partition { it.isAlone }
        val outcomes = alone.map { outcome(it) } + inParallel(together)
        val failed = outcomes.count { !it }
        println("${outcomes.size - failed} passed, $failed failed")
        return failed == 0 && outcomes.isNotEmpty()
    }

    private fun inParallel(tests: List<Test>): List<Boolean> {
        // They wait more than they work.
        val pool = Executors.newFixedThreadPool(WIDTH)
        try {
            return tests.map { test -> pool.submit<Boolean> { outcome(test) } }.map { it.get() }
        } finally {
            pool.shutdown()
        }
    }

    private fun outcome(test: Test): Boolean {
        val started = System.nanoTime()
        val failure = runCatching { within(LIMIT) { test.run() } }.exceptionOrNull()
        val seconds = "%.1f s".format((System.nanoTime() - started) / 1e9)
        println(if (failure == null) "ok ${test.name} ($seconds)" else "FAILED ${test.name} ($seconds)\n${failure.stackTraceToString()}")
        return failure == null
    }

    private companion object {
        const val WIDTH = 8
        const val LIMIT = 150L
    }
}

/** Runs something that must not hang; if it does, the failure shows where. */
internal fun <T> within(seconds: Long, work: () -> T): T {
    val outcome = CompletableFuture<T>()
    val thread = Thread({
        try {
            outcome.complete(work())
        } catch (failure: Throwable) {
            outcome.completeExceptionally(failure)
        }
    }, "within-$seconds").apply { isDaemon = true }
    thread.start()
    try {
        return outcome.get(seconds, TimeUnit.SECONDS)
    } catch (failure: ExecutionException) {
        throw failure.cause ?: failure
    } catch (_: TimeoutException) {
        throw AssertionError("hangs: no outcome after $seconds s").apply { stackTrace = thread.stackTrace }
    }
}

internal fun check(condition: Boolean, what: () -> Any?) {
    if (!condition) throw AssertionError(what().toString())
}

internal fun <T> equal(expected: T, came: T, what: String = "outcome") = check(expected == came) { "$what: expected $expected, came $came" }

internal inline fun <reified E : Throwable> failure(act: () -> Any?): E {
    val came = runCatching { act() }
    val error = came.exceptionOrNull() ?: throw AssertionError("expected ${E::class.simpleName}, came a value")
    return error as? E ?: throw AssertionError("expected ${E::class.simpleName}, came $error", error)
}

/** Waits for what happens soon, in another thread. */
internal fun eventually(what: String, condition: () -> Boolean) {
    val end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20)
    while (!condition()) {
        check(System.nanoTime() < end) { "it never came: $what" }
        Thread.sleep(5)
    }
}

internal fun millis(act: () -> Unit): Long {
    val started = System.nanoTime()
    act()
    return (System.nanoTime() - started) / 1_000_000
}
