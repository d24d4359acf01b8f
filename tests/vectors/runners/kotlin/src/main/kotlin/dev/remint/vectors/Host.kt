package dev.remint.vectors

import dev.remint.Client
import dev.remint.Token
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.launch
import java.time.Duration

/** What a caller wishes of a token. What is null takes its default. */
internal class Wish(val minTtl: Duration?, val force: Boolean?, val timeout: Duration?) {
    val isPlain get() = minTtl == null && force == null && timeout == null
    val minTtlOrZero: Duration get() = minTtl ?: Duration.ZERO
    val timeoutOrUsual: Duration get() = timeout ?: Duration.ofSeconds(30)
}

/** What became of a call: a value, an error, or nothing yet. */
internal class Call<T> {
    @Volatile
    var result: Result<T>? = null

    @Volatile
    var job: Job? = null

    val value: T? get() = result?.getOrNull()
    val error: Throwable? get() = result?.exceptionOrNull()
}

/** One of the ways in which programs call a [Client]. */
internal sealed interface Host {
    val title: String

    fun token(client: Client, wish: Wish): Call<Token>

    fun headers(client: Client, method: String, url: String): Call<Map<String, String>>

    fun reject(client: Client, token: Token, url: String, status: Int, headers: Map<String, List<String>>): Call<Boolean>

    fun invalidate(client: Client): Call<Unit>

    /** The caller does not want an answer any more. */
    fun cancel(call: Call<*>)
}

/** Callers are threads that wait. */
internal object Threads : Host {
    override val title = "threads"

    override fun token(client: Client, wish: Wish) = run {
        if (wish.isPlain) client.tokenBlocking() else client.tokenBlocking(wish.minTtlOrZero, wish.force ?: false, wish.timeoutOrUsual)
    }

    override fun headers(client: Client, method: String, url: String) = run { client.headersBlocking(method, url) }

    override fun reject(client: Client, token: Token, url: String, status: Int, headers: Map<String, List<String>>) =
        run { client.rejectBlocking(token, "GET", url, status, headers) }

    override fun invalidate(client: Client) = run { client.invalidateBlocking() }

    /** Nobody can cancel a thread; that its caller no longer listens is all there is to it. */
    override fun cancel(call: Call<*>) = Unit

    /** Comes back when the caller has what it wants, or waits for it: what the vector says next comes after that. */
    fun <T> run(act: () -> T): Call<T> {
        val call = Call<T>()
        // A caller is small: a thousand of them are at work in some vectors.
        val caller = Thread(null, { call.result = runCatching(act) }, "caller", 256 * 1024).apply { isDaemon = true }
        caller.start()
        while (call.result == null && caller.state != Thread.State.WAITING && caller.state != Thread.State.TIMED_WAITING) Thread.yield()
        return call
    }
}

/** Callers are coroutines that suspend. */
internal object Coroutines : Host {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)

    override val title = "coroutines"

    override fun token(client: Client, wish: Wish) = run {
        if (wish.isPlain) client.token() else client.token(wish.minTtlOrZero, wish.force ?: false, wish.timeoutOrUsual)
    }

    override fun headers(client: Client, method: String, url: String) = run { client.headers(method, url) }

    override fun reject(client: Client, token: Token, url: String, status: Int, headers: Map<String, List<String>>) =
        run { client.reject(token, "GET", url, status, headers) }

    override fun invalidate(client: Client) = run { client.invalidate() }

    override fun cancel(call: Call<*>) {
        call.job?.cancel()
    }

    /** Comes back when the caller has what it wants, or suspends. */
    private fun <T> run(act: suspend () -> T): Call<T> {
        val call = Call<T>()
        call.job = scope.launch(start = CoroutineStart.UNDISPATCHED) { call.result = runCatching { act() } }
        return call
    }
}
