package dev.remint

import dev.remint.core.Answer
import dev.remint.core.Event
import dev.remint.core.Family
import kotlinx.coroutines.future.await
import java.util.concurrent.CompletableFuture

/**
 * One API request and its few possible repetitions, for adapters to HTTP clients: what to put on it, and what its answer
 * says about the token.
 *
 * An adapter attaches, sends, and tells what came back. As long as it is told to repeat the request, it attaches again and sends once
 * more; a body that can be sent only once is told by [cannotBeRepeated]. It belongs to one caller: no two threads at a time.
 */
public class ApiCall(private val client: Client) {
    /** The call that the request was attached for last. */
    @Volatile private var call: String? = null

    /** The call whose token was refused: another is asked for. */
    @Volatile private var repeated: String? = null

    /** Whether the token of [call] goes out once more, with another proof. */
    @Volatile private var isProvenAgain = false

    /**
     * The headers to put on the request, by name. They are for this method and URL alone, and for one sending. Where a redirect leads
     * to another origin, all of them must come off.
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
     * The headers to put on the request that a redirect within the origin leads to: the token is the one in hand, and a proof of possession
     * is made anew (RFC 9449 section 4.2). None if it was withdrawn meanwhile: then those of the request before are kept.
     */
    public suspend fun attachHop(method: String, url: String): Map<String, String> = attachHopAsync(method, url).await()

    /** Like [attachHop], for a thread that waits. */
    public fun attachHopBlocking(method: String, url: String): Map<String, String> = attachHopAsync(method, url).awaitBlocking()

    /** Like [attachHop], as a future. */
    public fun attachHopAsync(method: String, url: String): CompletableFuture<Map<String, String>> {
        val attached = call ?: throw misuse("`attachHop` belongs to a request that `attach` was called for")
        return put(attached, method, url, insecureQuery = false) { (it as? Answer.Headers)?.headers?.toMap().orEmpty() }.aside()
    }

    /**
     * The API answered. Whether to attach once more and repeat the request. [headers] are the answer's, names in any case.
     *
     * @throws ServerException `insufficient_user_authentication` if the API wants the person to sign in anew, or more strongly (RFC 9470)
     */
    public fun answered(url: String, status: Int, headers: Map<String, List<String>>): Boolean {
        val (driver, want) = client.driver to client.view.want
        // The core hears of every refusal, of the first answer after one that is none, and of each nonce.
        if (status == UNAUTHORIZED) {
            if (driver.refused.size > MAX_REFUSED) driver.refused.clear()
            driver.refused.add(want)
        } else if (!driver.refused.remove(want) && status != FORBIDDEN && !hasNonce(headers)) {
            return false
        }
        val answered = call ?: throw misuse("`answered` belongs to a request that `attach` was called for")
        val answer = driver.ask(Event.Answered(want, answered, url, status, headers.toLines()))
        isProvenAgain = answer is Answer.Again
        when (answer) {
            is Answer.Retry -> repeated = answered
            is Answer.Again -> call = answer.call
            else -> return false
        }
        return true
    }

    /** The request's body can be sent only once, so that the answer stays the caller's: a notice says so. */
    public fun cannotBeRepeated() {
        client.driver.notify(Notice("body_not_replayable"))
    }

    internal fun <T> prepare(method: String, url: String, insecureQuery: Boolean, read: (Answer) -> T): CompletableFuture<T> {
        val result = CompletableFuture<T>()
        val (driver, view) = client.driver to client.view

        /** Whatever [waited] for ends with the caller; what it brings is for [then], unless that has happened. */
        fun <V> follow(waited: CompletableFuture<V>, then: (V) -> Unit) {
            if (!waited.isDone) result.whenComplete { _, _ -> waited.cancel(false) }
            waited.whenComplete { value, thrown ->
                when {
                    thrown != null -> result.completeExceptionally(thrown)
                    !result.isDone -> result.completing { then(value) }
                }
            }
        }

        /** Puts the token of [attached] on, or does [otherwise]: it may be withdrawn between the two steps. */
        fun put(attached: String, otherwise: () -> Unit) {
            call = attached
            follow(put(attached, method, url, insecureQuery) { it }) { if (it is Answer.Retry) otherwise() else result.complete(read(it)) }
        }

        fun attempt(left: Int): Unit = follow(driver.acquire(view, Ask(0, false, null, repeated, isCall = true))) { token ->
            put(token.call) { if (left > 1) attempt(left - 1) else throw withdrawn() }
        }

        val attached = if (isProvenAgain) call else if (repeated == null) driver.fresh(view)?.call else null
        isProvenAgain = false
        result.completing { if (attached == null) attempt(MAX_ATTEMPTS) else put(attached) { attempt(MAX_ATTEMPTS) } }
        return result.aside()
    }

    private fun <T : Any> put(call: String, method: String, url: String, insecureQuery: Boolean, read: (Answer) -> T): CompletableFuture<T> =
        client.driver.inquire(read) { after -> Event.Attach(client.view.want, call, method, url, insecureQuery, after) }

    private fun hasNonce(headers: Map<String, List<String>>) = headers.keys.any { name: String? -> name.equals("dpop-nonce", ignoreCase = true) }

    private fun withdrawn() = failure(
        "transport_failed", Family.TRANSPORT, "the token was withdrawn three times while this request was prepared: send it again", retryable = true,
    ).toException()

    private companion object {
        const val UNAUTHORIZED = 401
        const val FORBIDDEN = 403
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
