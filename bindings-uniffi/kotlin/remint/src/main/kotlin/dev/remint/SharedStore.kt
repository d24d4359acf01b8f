package dev.remint

import dev.remint.core.Secret
import dev.remint.core.StoreCommand
import dev.remint.core.StoreResult
import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.concurrent.Executor
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.locks.ReentrantLock
import java.util.function.Consumer
import java.util.logging.Level
import java.util.logging.Logger
import kotlin.concurrent.withLock

/** The user's store as the core speaks to it, and what it tells of other processes. */
internal class SharedStore(private val store: Store, private val clock: Clock, private val executor: Executor) {
    // Held for looks at these two, never while the store is called.
    private val lock = ReentrantLock()
    private var state = State.SILENT
    private var subscription: AutoCloseable? = null

    /** Carries out one command. What the store throws is its answer, too: it comes beside that. */
    fun answer(key: String, command: StoreCommand): Pair<StoreResult, Exception?> = try {
        carryOut(key, command) to null
    } catch (failed: Exception) {
        val isNotDone = command is StoreCommand.Load || failed is StoreDownException
        (if (isNotDone) StoreResult.Down else StoreResult.Unknown) to failed
    }

    private fun carryOut(key: String, command: StoreCommand): StoreResult = when (command) {
        is StoreCommand.Load -> store.load(key)?.let { StoreResult.Found(Secret(it)) } ?: StoreResult.Missing
        is StoreCommand.Lock -> when (val result = store.lock(key, command.owner, Duration.ofMillis(command.ttl))) {
            is Locked -> if (command.ttl == 0L) StoreResult.Ok else StoreResult.Locked(secret(result.record))
            // Rounded up, so that whoever asks again then is not a moment too early.
            is Held -> StoreResult.Held(clock.boot() + result.retryIn.toMillis() + 1, secret(result.record))
        }
        is StoreCommand.Save -> {
            val ttl = Duration.ofMillis(command.ttl)
            when (val result = store.save(key, command.expect?.expose(), command.record.expose(), ttl, command.unlock)) {
                is Saved -> StoreResult.Ok
                is Conflict -> StoreResult.Conflict(secret(result.record))
            }
        }
    }

    private fun secret(record: String?) = record?.let(::Secret)

    /** From the first use on, [onChanged] hears of what others write. Where that fails, the next use tries it again. */
    fun listen(onChanged: Consumer<String?>) {
        lock.withLock {
            if (state != State.SILENT) return
            state = State.LISTENING
        }
        aside {
            val made = try {
                store.subscribe(onChanged)
            } catch (failed: Exception) {
                LOGGER.log(Level.WARNING, "the store cannot say what other processes write: it is looked at from time to time", failed)
                null
            }
            val isLate = lock.withLock {
                if (state == State.CLOSED) return@withLock true
                if (made == null) state = State.SILENT
                subscription = made
                false
            }
            if (isLate) made?.close()
        }
    }

    /** Ends that. */
    fun close(): CompletableFuture<Void> {
        val ended = lock.withLock {
            state = State.CLOSED
            subscription.also { subscription = null }
        } ?: return CompletableFuture.completedFuture(null)
        val done = CompletableFuture<Void>()
        aside {
            try {
                ended.close()
            } catch (failed: Exception) {
                LOGGER.log(Level.WARNING, "the store's subscription could not be closed", failed)
            } finally {
                done.complete(null)
            }
        }
        return done
    }

    private fun aside(task: Runnable) {
        try {
            executor.execute(task)
        } catch (_: RejectedExecutionException) {
            // The user's executor has ended before the client.
            Threads.executor.execute(task)
        }
    }

    private enum class State { SILENT, LISTENING, CLOSED }

    private companion object {
        val LOGGER: Logger = Logger.getLogger("dev.remint")
    }
}
