package dev.remint

import dev.remint.core.Answer
import dev.remint.core.Event
import dev.remint.core.Family
import kotlinx.coroutines.future.await
import java.util.concurrent.CompletableFuture

/**
 * One API request and its one possible repetition, for adapters to HTTP clients: what to put on it, and what its answer
 * says about the token.
 *
 * An adapter attaches, sends, and tells what came back. If it is told to repeat the request, it attaches again and sends once
 * more; a body that can be sent only once is told by [cannotBeRepeated]. It belongs to one caller: no two threads at a time.
 */
public class ApiCall(private val client: Client) {
    @Volatile private var call: String? = null
    @Volatile private var repeated: String? = null

    /**
     * The headers to put on the request, by name. Where a redirect leads to another origin, all of them must come off.
     *
     * @throws RemintException if there is no token, or none may be sent to [url] (`origin_not_allowed`)
     */
    public suspend fun attach(method: String, url: String): Map<String, String> = attachAsync(method, url).await()

    /** Like [attach], for a thread that waits. */
    public fun attachBlocking(method: String, url: String): Map<String, String> = attachAsync(method, url).awaitBlocking()

    /** Like [attach], for those who wait in their own way. Cancelling the future ends the waiting of this caller, and of nobody else. */
    public fun attachAsync(method: String, url: String): CompletableFuture<Map<String, String>> =
        prepare(method, url, insecureQuery = false) { (it as Answer.Headers).headers.toMap() }

    /**
     * The headers to put on the request that a redirect within the origin leads to: the token is the one in hand, and nobody waits.
     * None if it was withdrawn meanwhile: then those of the request before are kept.
     */
    public fun attachHop(method: String, url: String): Map<String, String> {
        val attached = call ?: throw misuse("`attachHop` belongs to a request that `attach` was called for")
        val answer = client.driver.ask(Event.Attach(client.view.want, attached, method, url, insecureQuery = false))
        return (answer as? Answer.Headers)?.headers?.associate { (name, value) -> name to value.expose() }.orEmpty()
    }

    /** The API answered. Whether to attach once more and repeat the request. [headers] are the answer's, names in any case. */
    public fun answered(url: String, status: Int, headers: Map<String, List<String>>): Boolean {
        val (driver, want) = client.driver to client.view.want
        // The core hears of every refusal, and of the first answer after one that is none.
        if (status == UNAUTHORIZED) {
            if (driver.refused.size > MAX_REFUSED) driver.refused.clear()
            driver.refused.add(want)
        } else if (!driver.refused.remove(want)) {
            return false
        }
        val answered = call ?: throw misuse("`answered` belongs to a request that `attach` was called for")
        if (driver.ask(Event.Answered(want, answered, url, status, headers.toLines())) !is Answer.Retry) return false
        repeated = answered
        return true
    }

    /** The request's body can be sent only once, so that the answer stays the caller's: a notice says so. */
    public fun cannotBeRepeated() {
        client.driver.notify(Notice("body_not_replayable"))
    }

    internal fun <T> prepare(method: String, url: String, insecureQuery: Boolean, read: (Answer) -> T): CompletableFuture<T> {
        val result = CompletableFuture<T>()
        val (driver, view) = client.driver to client.view

        /** Whether that was it: the token may be withdrawn between the two steps. */
        fun isAttached(token: Token): Boolean {
            call = token.call
            val answer = driver.ask(Event.Attach(view.want, token.call, method, url, insecureQuery))
            if (answer == null || answer is Answer.Retry) return false
            result.complete(read(answer))
            return true
        }

        fun attempt(left: Int) {
            val acquiring = driver.acquire(view, Ask(0, false, null, repeated, isCall = true))
            result.whenComplete { _, _ -> acquiring.cancel(false) }
            acquiring.whenComplete { token, thrown ->
                when {
                    thrown != null -> result.completeExceptionally(thrown)
                    result.isDone -> Unit
                    else -> result.completing { if (!isAttached(token)) if (left > 1) attempt(left - 1) else throw withdrawn() }
                }
            }
        }

        val cached = if (repeated == null) driver.fresh(view) else null
        result.completing { if (cached == null || !isAttached(cached)) attempt(MAX_ATTEMPTS) }
        return result.aside()
    }

    private fun withdrawn() = failure(
        "transport_failed", Family.TRANSPORT, "the token was withdrawn three times while this request was prepared: send it again", retryable = true,
    ).toException()

    private companion object {
        const val UNAUTHORIZED = 401
        const val MAX_ATTEMPTS = 3

        /** More are forgotten: then the core hears of their next success a little later. */
        const val MAX_REFUSED = 10_000
    }
}

/** Runs [block], and completes the future with what it throws. */
internal inline fun CompletableFuture<*>.completing(block: () -> Unit) {
    try {
        block()
    } catch (thrown: Throwable) {
        completeExceptionally(thrown)
    }
}
