package dev.remint

import dev.remint.core.Answer
import dev.remint.core.Event
import dev.remint.core.Flow
import dev.remint.core.Secret
import dev.remint.core.Want
import kotlinx.coroutines.future.await
import java.io.Closeable
import java.net.URLEncoder
import java.time.Duration
import java.util.concurrent.CancellationException
import java.util.concurrent.CompletableFuture
import java.util.concurrent.ExecutionException

/**
 * Gets, keeps and renews one client's tokens. Make one, and share it between threads and coroutines.
 *
 * Every verb comes three times: as a suspending function, with `Blocking` for a thread that waits, and with `Async` for a
 * `CompletableFuture`. Whoever is cancelled or interrupted stops waiting; the token request goes on for the others. A
 * client that nobody closes is harmless: it holds no thread.
 *
 * All verbs throw a [RemintException]; after [close] a [UsageException] with the code `closed`.
 */
public class Client internal constructor(
    @Transient internal val driver: Driver,
    @Transient internal val view: View,
) : Closeable {
    /**
     * A client of the profile with this name, or of the profile document with this text. [configure] sets what else there
     * is: see [Builder].
     *
     * @throws UsageException if an option is missing, unknown or not allowed; the message names it
     */
    public constructor(
        profile: String,
        clientId: String? = null,
        clientSecret: String? = null,
        scope: List<String>? = null,
        configure: Builder.() -> Unit = {},
    ) : this(
        Builder(profile).apply {
            if (clientId != null) clientId(clientId)
            if (clientSecret != null) clientSecret(clientSecret)
            if (scope != null) scope(scope)
            configure()
        }.driver(),
        View(Want()),
    )

    /**
     * A valid token: the cached one, or a new one. One request serves however many callers wait for it.
     *
     * While the token is good this costs two looks at a clock, and nothing is allocated.
     *
     * @param minTtl how much life the token must have left
     * @param force whether the cached token won't do: joins a request that is under way, and respects its pauses
     * @param timeout how long to wait; 30 seconds unless given
     */
    public suspend fun token(minTtl: Duration = Duration.ZERO, force: Boolean = false, timeout: Duration? = null): Token {
        val cached = cached(minTtl, force)
        if (cached != null) return cached
        return acquired(minTtl, force, timeout)
    }

    /** Like [token], for a thread that waits. */
    @JvmOverloads
    public fun tokenBlocking(minTtl: Duration = Duration.ZERO, force: Boolean = false, timeout: Duration? = null): Token =
        cached(minTtl, force) ?: acquire(minTtl, force, timeout).awaitBlocking()

    /** Like [token], as a future. Cancelling it ends the waiting of this caller, and of nobody else. */
    @JvmOverloads
    public fun tokenAsync(minTtl: Duration = Duration.ZERO, force: Boolean = false, timeout: Duration? = null): CompletableFuture<Token> =
        cached(minTtl, force)?.let { CompletableFuture.completedFuture(it) } ?: acquire(minTtl, force, timeout).aside()

    /** The cached token, if it may be used without a further look. Never sends a request, never waits. */
    public fun peek(): Token? = driver.fresh(view)

    /**
     * What to put on this one API request, by header name.
     *
     * @throws UsageException `origin_not_allowed` if neither the profile nor `apiOrigins` has the origin of [url]
     */
    public suspend fun headers(method: String, url: String): Map<String, String> = ApiCall(this).attach(method, url)

    /** Like [headers], for a thread that waits. */
    public fun headersBlocking(method: String, url: String): Map<String, String> = ApiCall(this).attachBlocking(method, url)

    /** Like [headers], as a future. */
    public fun headersAsync(method: String, url: String): CompletableFuture<Map<String, String>> = ApiCall(this).attachAsync(method, url)

    /**
     * Reports what an API answered to a request with this token, for those who send it themselves. True: ask for a token
     * again, and send the request once more. False: the answer is yours.
     *
     * @param method the request's method
     * @param url the request's URL
     * @param status the answer's HTTP status; only 401 is about the token (RFC 6750 section 3.1)
     * @param headers the answer's header lines, names in any case; `WWW-Authenticate` is read
     */
    public suspend fun reject(token: Token, method: String, url: String, status: Int, headers: Map<String, List<String>> = emptyMap()): Boolean =
        rejectBlocking(token, method, url, status, headers)

    /** Like [reject], which never waits. */
    @JvmOverloads
    public fun rejectBlocking(
        token: Token, @Suppress("UNUSED_PARAMETER") method: String, url: String, status: Int, headers: Map<String, List<String>> = emptyMap(),
    ): Boolean = driver.ask(Event.Answered(view.want, token.call, url, status, headers.toLines())) is Answer.Retry

    /** Like [reject], as a future. */
    @JvmOverloads
    public fun rejectAsync(
        token: Token, method: String, url: String, status: Int, headers: Map<String, List<String>> = emptyMap(),
    ): CompletableFuture<Boolean> = future { rejectBlocking(token, method, url, status, headers) }

    /**
     * Where to send the browser (RFC 6749 section 4.1.1), and the session to keep until it is back. `state` and the PKCE
     * verifier (RFC 7636) are made here.
     *
     * @param redirectUri where the browser comes back to; the option `redirectUri` unless given
     * @param scope the scope to ask for; the client's own unless given
     * @param parameters further parameters of the authorization request
     */
    public suspend fun authorizationUrl(
        redirectUri: String? = null, scope: List<String>? = null, parameters: Map<String, String> = emptyMap(),
    ): Authorization = authorizationUrlBlocking(redirectUri, scope, parameters)

    /** Like [authorizationUrl], which never waits. */
    @JvmOverloads
    public fun authorizationUrlBlocking(
        redirectUri: String? = null, scope: List<String>? = null, parameters: Map<String, String> = emptyMap(),
    ): Authorization {
        val flow = Flow.AuthorizationUrl(redirectUri.orEmpty(), scope?.let(::toScope) ?: view.want.scope, parameters)
        val answer = driver.ask(Event.Start(flow, null)) as Answer.Authorization
        return Authorization(answer.url, answer.session.expose())
    }

    /** Like [authorizationUrl], as a future. */
    @JvmOverloads
    public fun authorizationUrlAsync(
        redirectUri: String? = null, scope: List<String>? = null, parameters: Map<String, String> = emptyMap(),
    ): CompletableFuture<Authorization> = future { authorizationUrlBlocking(redirectUri, scope, parameters) }

    /**
     * Ends what [authorizationUrl] began (RFC 6749 section 4.1.3). The code is sent once.
     *
     * @param callback the URL that the browser came back with, or its query
     * @param session what [authorizationUrl] gave for this browser
     * @param subject your name for the user, whose token [withSubject] then has
     * @param onRotated told of the user's refresh token, and of each later one: awaited before the access token is handed out
     * @param timeout how long to wait; 30 seconds unless given
     */
    public suspend fun exchange(
        callback: String, session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null,
    ): Token = exchangeAsync(callback, session, subject, onRotated, timeout).await()

    /** The same with the parameters of the callback, as web frameworks have them. One that is repeated is refused. */
    public suspend fun exchange(
        callback: Map<String, List<String>>, session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null,
    ): Token = exchangeAsync(toQuery(callback), session, subject, onRotated, timeout).await()

    /** Like [exchange], for a thread that waits. */
    @JvmOverloads
    public fun exchangeBlocking(
        callback: String, session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null,
    ): Token = exchangeAsync(callback, session, subject, onRotated, timeout).awaitBlocking()

    /** Like [exchange], for a thread that waits. */
    @JvmOverloads
    public fun exchangeBlocking(
        callback: Map<String, List<String>>, session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null,
    ): Token = exchangeAsync(toQuery(callback), session, subject, onRotated, timeout).awaitBlocking()

    /** Like [exchange], as a future. */
    @JvmOverloads
    public fun exchangeAsync(
        callback: String, session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null,
    ): CompletableFuture<Token> {
        val user = subject ?: view.want.subject
        val flow = Flow.CodeExchange(Secret(callback), Secret(session), user, onRotated != null)
        val deadline = deadline(timeout)
        listen(user, onRotated)
        return driver.acquire(View(Want(user)), Ask(0, false, deadline, null, isCall = false), Event.Start(flow, deadline)).aside()
    }

    /** Like [exchange], as a future. */
    @JvmOverloads
    public fun exchangeAsync(
        callback: Map<String, List<String>>, session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null,
    ): CompletableFuture<Token> = exchangeAsync(toQuery(callback), session, subject, onRotated, timeout)

    /**
     * The URL with the token in its query, which logs and histories keep (RFC 6750 section 2.3 warns of it); and headers
     * that keep it out of caches. Only for profiles that provide for it.
     */
    public suspend fun insecureUrl(url: String): InsecureUrl = insecureUrlAsync(url).await()

    /** Like [insecureUrl], for a thread that waits. */
    public fun insecureUrlBlocking(url: String): InsecureUrl = insecureUrlAsync(url).awaitBlocking()

    /** Like [insecureUrl], as a future. */
    public fun insecureUrlAsync(url: String): CompletableFuture<InsecureUrl> = ApiCall(this).prepare("GET", url, insecureQuery = true) {
        val answer = it as Answer.InsecureUrl
        InsecureUrl(answer.url.expose(), answer.headers.toMap())
    }

    /**
     * The same client for a user: a token of their own, and requests of their own.
     *
     * @param id your name for the user
     * @param refreshToken the refresh token that your database has for them
     * @param onRotated told of each later refresh token: awaited before the access token that came with it is handed out
     */
    @JvmOverloads
    public fun withSubject(id: String, refreshToken: String? = null, onRotated: OnRotated? = null): Client {
        val want = Want(id, view.want.scope)
        if (refreshToken != null) driver.ask(Event.Start(Flow.Adopt(want, Secret(refreshToken), onRotated != null), null))
        listen(id, onRotated)
        return Client(driver, View(want))
    }

    /** The same client for another set of scopes, with a token of its own. Each text may hold several, separated by one space. */
    public fun withScope(vararg scope: String): Client = Client(driver, View(Want(view.want.subject, toScope(scope.asList()))))

    /** Forgets the access token: the next caller gets another. */
    public suspend fun invalidate(): Unit = invalidateBlocking()

    /** Like [invalidate], which never waits. */
    public fun invalidateBlocking() {
        driver.ask(Event.Invalidate(view.want))
    }

    /** Like [invalidate], as a future. */
    public fun invalidateAsync(): CompletableFuture<Void> = future { invalidateBlocking() }.thenAccept { }

    /**
     * Refuses new work, and waits for what is under way: a refresh token that was sent is saved first. That takes no longer
     * than a request may. All views of the client are closed with it.
     */
    override fun close() {
        closeAsync().awaitBlocking()
    }

    /** Like [close], as a future. */
    public fun closeAsync(): CompletableFuture<Void> = driver.close()

    override fun toString(): String = "Client(redacted)"

    // A function of its own, so that `token` ends in a plain call, and makes no continuation where it need not wait.
    private suspend fun acquired(minTtl: Duration, force: Boolean, timeout: Duration?): Token = acquire(minTtl, force, timeout).await()

    private fun cached(minTtl: Duration, force: Boolean): Token? = if (minTtl.isZero && !force) peek() else null

    private fun acquire(minTtl: Duration, force: Boolean, timeout: Duration?): CompletableFuture<Token> =
        driver.acquire(view, Ask(toMillis("minTtl", minTtl), force, deadline(timeout), null, isCall = false))

    private fun deadline(timeout: Duration?): Long? = timeout?.let { driver.clock.boot() + toMillis("timeout", it) }

    private fun listen(subject: String?, onRotated: OnRotated?) {
        if (onRotated != null) driver.onRotated[Want(subject)] = onRotated
    }

    public companion object {
        /** The options of a client of the profile with this name, or of the profile document with this text. */
        @JvmStatic
        public fun builder(profile: String): Builder = Builder(profile)

        /** A client that has this token and asks for no other, for tests of your own. It may be sent to [apiOrigins]. */
        @JvmStatic
        public fun fixed(token: String, vararg apiOrigins: String): Client = Builder(FIXED).apiToken(token).apiOrigins(*apiOrigins).build()

        private const val FIXED =
            """{"name":"static","title":"A token that is there already","grants":["api_token"],"api_token":{"scheme":"Bearer"}}"""
    }
}

/** Waits as a thread does. */
internal fun <T> CompletableFuture<T>.awaitBlocking(): T = try {
    get()
} catch (failed: ExecutionException) {
    throw failed.unwrapped()
} catch (_: InterruptedException) {
    cancel(false)
    Thread.currentThread().interrupt()
    throw CancellationException("the thread was interrupted while it waited for a token")
}

/** The same for somebody who may do in its completion what takes long: that is not done where it would hold up the others. */
internal fun <T> CompletableFuture<T>.aside(): CompletableFuture<T> {
    if (isDone) return this
    val own = CompletableFuture<T>()
    whenComplete { value, thrown ->
        val complete = Runnable { if (thrown == null) own.complete(value) else own.completeExceptionally(thrown) }
        // One dependent is the one below: with no other there is nothing that could take long.
        if (own.numberOfDependents > 1) Threads.executor.execute(complete) else complete.run()
    }
    own.whenComplete { _, _ -> cancel(false) }
    return own
}

private inline fun <T> future(block: () -> T): CompletableFuture<T> =
    CompletableFuture<T>().apply { completing { complete(block()) } }

/** Longer than anybody waits counts as that long. */
private fun toMillis(name: String, duration: Duration): Long {
    if (duration.isNegative) throw misuse("`$name` is negative: give a duration from 0")
    return minOf(duration, MAX_DURATION).toMillis()
}

private val MAX_DURATION = Duration.ofDays(365_000)

private fun toQuery(callback: Map<String, List<String>>): String =
    callback.flatMap { (name, values) -> values.map { "${encode(name)}=${encode(it)}" } }.joinToString("&")

private fun encode(text: String): String = URLEncoder.encode(text, "UTF-8")
