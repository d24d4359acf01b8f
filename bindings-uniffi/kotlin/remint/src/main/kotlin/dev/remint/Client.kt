package dev.remint

import dev.remint.core.Adopt
import dev.remint.core.Answer
import dev.remint.core.Backchannel
import dev.remint.core.Event
import dev.remint.core.Flow
import dev.remint.core.Introspect
import dev.remint.core.Poll
import dev.remint.core.Revoke
import dev.remint.core.Secret
import dev.remint.core.Want
import kotlinx.coroutines.future.await
import java.io.Closeable
import java.net.URLEncoder
import java.security.PrivateKey
import java.security.cert.X509Certificate
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
     * Reports what an API answered to a request with this token, for those who send it themselves. True: ask for a token and its
     * [headers] again, and send the request once more. False: the answer is yours. [ApiCall] does the same for one request, and bounds it.
     *
     * @param method the request's method
     * @param url the request's URL
     * @param status the answer's HTTP status; only 401 is about the token (RFC 6750 section 3.1), or 403 where the API wants more of the person
     * @param headers the answer's header lines, names in any case; `WWW-Authenticate` and `DPoP-Nonce` are read
     * @throws ServerException `insufficient_user_authentication` if the API wants the person to sign in anew, or more strongly (RFC 9470)
     */
    public suspend fun reject(token: Token, method: String, url: String, status: Int, headers: Map<String, List<String>> = emptyMap()): Boolean =
        rejectBlocking(token, method, url, status, headers)

    /** Like [reject], which never waits. */
    @JvmOverloads
    public fun rejectBlocking(
        token: Token, @Suppress("UNUSED_PARAMETER") method: String, url: String, status: Int, headers: Map<String, List<String>> = emptyMap(),
    ): Boolean = driver.ask(Event.Answered(view.want, token.call, url, status, headers.toLines())).let { it is Answer.Retry || it is Answer.Again }

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
     * @param authorizationDetails what is asked for in detail (RFC 9396 section 2), as JSON has it; the client's own unless given
     * @param timeout how long to wait where the server is asked first; 30 seconds unless given
     */
    public suspend fun authorizationUrl(
        redirectUri: String? = null, scope: List<String>? = null, parameters: Map<String, String> = emptyMap(),
        authorizationDetails: List<Map<String, Any?>>? = null, timeout: Duration? = null,
    ): Authorization = authorizationUrlAsync(redirectUri, scope, parameters, authorizationDetails, timeout).await()

    /** Like [authorizationUrl], for a thread that waits. */
    @JvmOverloads
    public fun authorizationUrlBlocking(
        redirectUri: String? = null, scope: List<String>? = null, parameters: Map<String, String> = emptyMap(),
        authorizationDetails: List<Map<String, Any?>>? = null, timeout: Duration? = null,
    ): Authorization = authorizationUrlAsync(redirectUri, scope, parameters, authorizationDetails, timeout).awaitBlocking()

    /** Like [authorizationUrl], as a future. */
    @JvmOverloads
    public fun authorizationUrlAsync(
        redirectUri: String? = null, scope: List<String>? = null, parameters: Map<String, String> = emptyMap(),
        authorizationDetails: List<Map<String, Any?>>? = null, timeout: Duration? = null,
    ): CompletableFuture<Authorization> = run(timeout, { (it as Answer.Authorization).run { Authorization(url, session.expose()) } }) {
        val details = authorizationDetails?.let { toJson("authorizationDetails", it) }
        Flow.AuthorizationUrl(redirectUri.orEmpty(), scope?.let(::toScope) ?: view.want.scope, parameters, details)
    }

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
        return driver.acquire(View(Want(user)), Ask(0, false, deadline, null, isCall = false), Event.Start(flow, deadline, null), isSole = false).aside()
    }

    /** Like [exchange], as a future. */
    @JvmOverloads
    public fun exchangeAsync(
        callback: Map<String, List<String>>, session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null,
    ): CompletableFuture<Token> = exchangeAsync(toQuery(callback), session, subject, onRotated, timeout)

    /**
     * Asks for a code that a person types in on another device (RFC 8628 section 3.1). Show it with the address, and [poll] with the session.
     *
     * @param scope the scope to ask for; the client's own unless given
     * @param parameters further parameters of the request
     * @param timeout how long to wait for the code; 30 seconds unless given
     */
    public suspend fun deviceAuthorization(
        scope: List<String>? = null, parameters: Map<String, String> = emptyMap(), timeout: Duration? = null,
    ): DeviceAuthorization = deviceAuthorizationAsync(scope, parameters, timeout).await()

    /** Like [deviceAuthorization], for a thread that waits. */
    @JvmOverloads
    public fun deviceAuthorizationBlocking(
        scope: List<String>? = null, parameters: Map<String, String> = emptyMap(), timeout: Duration? = null,
    ): DeviceAuthorization = deviceAuthorizationAsync(scope, parameters, timeout).awaitBlocking()

    /** Like [deviceAuthorization], as a future. */
    @JvmOverloads
    public fun deviceAuthorizationAsync(
        scope: List<String>? = null, parameters: Map<String, String> = emptyMap(), timeout: Duration? = null,
    ): CompletableFuture<DeviceAuthorization> = run(timeout, { DeviceAuthorization((it as Answer.Pending).pending) }) {
        Flow.Device(scope?.let(::toScope) ?: view.want.scope, parameters)
    }

    /**
     * Has a person asked on a device of their own (CIBA section 7.1). [poll] with the session until they have answered. Exactly one of the
     * three hints names the person.
     *
     * @param loginHint the person by name, number or address
     * @param bindingMessage what both devices show, so that the person can compare
     * @param scope the scope to ask for; the client's own unless given
     * @param loginHintToken the person by a token that says who it is
     * @param idTokenHint the person by an ID token that they were given
     * @param userCode what only the person knows, where the server asks for that
     * @param requestedExpiry for how long the request is to live
     * @param acrValues the authentication that is asked for, space-separated
     * @param parameters further parameters of the request
     * @param timeout how long to wait for the request to be taken; 30 seconds unless given
     */
    public suspend fun backchannelAuthentication(
        loginHint: String? = null, bindingMessage: String? = null, scope: List<String>? = null, loginHintToken: String? = null,
        idTokenHint: String? = null, userCode: String? = null, requestedExpiry: Duration? = null, acrValues: String? = null,
        parameters: Map<String, String> = emptyMap(), timeout: Duration? = null,
    ): BackchannelAuthentication = backchannelAuthenticationAsync(
        loginHint, bindingMessage, scope, loginHintToken, idTokenHint, userCode, requestedExpiry, acrValues, parameters, timeout,
    ).await()

    /** Like [backchannelAuthentication], for a thread that waits. */
    @JvmOverloads
    public fun backchannelAuthenticationBlocking(
        loginHint: String? = null, bindingMessage: String? = null, scope: List<String>? = null, loginHintToken: String? = null,
        idTokenHint: String? = null, userCode: String? = null, requestedExpiry: Duration? = null, acrValues: String? = null,
        parameters: Map<String, String> = emptyMap(), timeout: Duration? = null,
    ): BackchannelAuthentication = backchannelAuthenticationAsync(
        loginHint, bindingMessage, scope, loginHintToken, idTokenHint, userCode, requestedExpiry, acrValues, parameters, timeout,
    ).awaitBlocking()

    /** Like [backchannelAuthentication], as a future. */
    @JvmOverloads
    public fun backchannelAuthenticationAsync(
        loginHint: String? = null, bindingMessage: String? = null, scope: List<String>? = null, loginHintToken: String? = null,
        idTokenHint: String? = null, userCode: String? = null, requestedExpiry: Duration? = null, acrValues: String? = null,
        parameters: Map<String, String> = emptyMap(), timeout: Duration? = null,
    ): CompletableFuture<BackchannelAuthentication> = run(timeout, { BackchannelAuthentication((it as Answer.Pending).pending) }) {
        val expiry = requestedExpiry?.let { toMillis("requestedExpiry", it) }
        val (hintToken, idToken, code) = listOf(loginHintToken, idTokenHint, userCode).map { it?.let(::Secret) }
        val asked = scope?.let(::toScope) ?: view.want.scope
        Flow.Backchannel(Backchannel(asked, loginHint, hintToken, idToken, bindingMessage, code, expiry, acrValues, parameters))
    }

    /**
     * Waits until the person has answered whom [deviceAuthorization] or [backchannelAuthentication] asks (RFC 8628 section 3.4, CIBA section
     * 10.1), as often and as slowly as the server wants it. Whoever is cancelled gives the request up.
     *
     * @param session what the one of them gave
     * @param subject your name for the user, whose token [withSubject] then has
     * @param onRotated told of the user's refresh token, and of each later one: awaited before the access token is handed out
     * @param timeout how long to wait; until the code or request has expired unless given
     * @throws ServerException `authorization_expired` if nobody has answered, `access_denied` if the person said no
     */
    public suspend fun poll(session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null): Token =
        pollAsync(session, subject, onRotated, timeout).await()

    /** Like [poll], for a thread that waits. */
    @JvmOverloads
    public fun pollBlocking(session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null): Token =
        pollAsync(session, subject, onRotated, timeout).awaitBlocking()

    /** Like [poll], as a future. */
    @JvmOverloads
    public fun pollAsync(
        session: String, subject: String? = null, onRotated: OnRotated? = null, timeout: Duration? = null,
    ): CompletableFuture<Token> {
        val user = subject ?: view.want.subject
        val deadline = deadline(timeout)
        listen(user, onRotated)
        val start = Event.Start(Flow.Poll(Poll(Secret(session), user, onRotated != null)), deadline, null)
        return driver.acquire(View(Want(user)), Ask(0, false, deadline, null, isCall = false), start, isSole = true).aside()
    }

    /**
     * What the server knows about a token (RFC 7662). It is asked each time.
     *
     * @param token the token
     * @param hint which kind it is: `access_token`, `refresh_token`, or what the server calls it
     * @param timeout how long to wait; 30 seconds unless given
     */
    public suspend fun introspect(token: String, hint: String? = null, timeout: Duration? = null): Introspection =
        introspectAsync(token, hint, timeout).await()

    /** Like [introspect], for a thread that waits. */
    @JvmOverloads
    public fun introspectBlocking(token: String, hint: String? = null, timeout: Duration? = null): Introspection =
        introspectAsync(token, hint, timeout).awaitBlocking()

    /** Like [introspect], as a future. */
    @JvmOverloads
    public fun introspectAsync(token: String, hint: String? = null, timeout: Duration? = null): CompletableFuture<Introspection> =
        run(timeout, { (it as Answer.Introspection).run { Introspection(active, introspection) } }) { Flow.Introspect(Introspect(Secret(token), hint)) }

    /**
     * Has the server forget a token (RFC 7009), and forgets it here.
     *
     * @param token the token; what this client holds if absent: its refresh token if there is one, else its access token
     * @param hint which kind it is: `access_token`, `refresh_token`, or what the server calls it
     * @param timeout how long to wait; 30 seconds unless given
     */
    public suspend fun revoke(token: String? = null, hint: String? = null, timeout: Duration? = null) {
        revokeAsync(token, hint, timeout).await()
    }

    /** Like [revoke], for a thread that waits. */
    @JvmOverloads
    public fun revokeBlocking(token: String? = null, hint: String? = null, timeout: Duration? = null) {
        revokeAsync(token, hint, timeout).awaitBlocking()
    }

    /** Like [revoke], as a future. */
    @JvmOverloads
    public fun revokeAsync(token: String? = null, hint: String? = null, timeout: Duration? = null): CompletableFuture<Void> =
        run(timeout, { }) { Flow.Revoke(Revoke(view.want, token?.let(::Secret), hint)) }.thenAccept { }

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
        val want = view.want.copy(subject = id)
        if (refreshToken != null) driver.ask(Event.Start(Flow.Adopt(Adopt(want, Secret(refreshToken), onRotated = onRotated != null)), null, null))
        listen(id, onRotated)
        return Client(driver, View(want))
    }

    /**
     * The same client for a user whose token is to be exchanged (RFC 8693 section 2.1), with the grant `token_exchange`.
     *
     * @param id your name for the user
     * @param onRotated told of each refresh token that comes in exchange: awaited before the access token that came with it is handed out
     * @param subjectToken the user's token. It takes the place of one that was given before
     * @param actorToken the token of who acts for the user
     */
    public fun withSubject(id: String, onRotated: OnRotated? = null, subjectToken: String, actorToken: String? = null): Client {
        val want = view.want.copy(subject = id)
        driver.ask(Event.Start(Flow.Adopt(Adopt(want, null, Secret(subjectToken), actorToken?.let(::Secret), onRotated != null)), null, null))
        listen(id, onRotated)
        return Client(driver, View(want))
    }

    /** The same client for another set of scopes, with a token of its own. Each text may hold several, separated by one space. */
    public fun withScope(vararg scope: String): Client = Client(driver, View(view.want.copy(scope = toScope(scope.asList()))))

    /** The same client for other resources, absolute URIs without a fragment (RFC 8707 section 2), with a token of its own. */
    public fun withResource(vararg resource: String): Client = Client(driver, View(view.want.copy(resource = resource.asList())))

    /** Forgets the access token: the next caller gets another. */
    public suspend fun invalidate(): Unit = invalidateBlocking()

    /** Like [invalidate], which never waits. */
    public fun invalidateBlocking() {
        driver.ask(Event.Invalidate(view.want))
    }

    /** Like [invalidate], as a future. */
    public fun invalidateAsync(): CompletableFuture<Void> = future { invalidateBlocking() }.thenAccept { }

    /**
     * Goes on with other keys or another certificate, without a restart: as in the options of the same names. What is absent stays. Tokens that
     * are bound to what was there before are not used any more. A certificate that was given as files needs no call.
     *
     * @param certificateChain the new certificate, the client's own first
     * @param certificateKey its key, where the default transport presents it
     * @throws UsageException if the client was made without a certificate, or the key does not belong to it; then nothing has changed
     */
    public suspend fun renew(
        signingKey: SigningKey? = null, dpop: SigningKey? = null, certificateChain: List<X509Certificate>? = null, certificateKey: PrivateKey? = null,
    ): Unit = renewBlocking(signingKey, dpop, certificateChain, certificateKey)

    /** Like [renew], which never waits. */
    @JvmOverloads
    public fun renewBlocking(
        signingKey: SigningKey? = null, dpop: SigningKey? = null, certificateChain: List<X509Certificate>? = null, certificateKey: PrivateKey? = null,
    ) {
        val credential = when {
            certificateChain == null && certificateKey != null -> throw misuse("`certificateKey` needs the `certificateChain` that it belongs to")
            certificateChain == null -> null
            certificateKey == null -> Credential(certificateChain.toList().ifEmpty { throw misuse("`certificateChain` is empty") }, null)
            else -> credentialOf(certificateChain, certificateKey)
        }
        driver.renew(signingKey, dpop, credential)
    }

    /** Like [renew], as a future. */
    @JvmOverloads
    public fun renewAsync(
        signingKey: SigningKey? = null, dpop: SigningKey? = null, certificateChain: List<X509Certificate>? = null, certificateKey: PrivateKey? = null,
    ): CompletableFuture<Void> = future { renewBlocking(signingKey, dpop, certificateChain, certificateKey) }.thenAccept { }

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

    /** Runs a flow to its end, through all that it has to wait for. */
    private fun <T : Any> run(timeout: Duration?, read: (Answer) -> T, flow: () -> Flow): CompletableFuture<T> = try {
        val (begun, deadline) = flow() to deadline(timeout)
        driver.inquire(read) { after -> Event.Start(begun, deadline, after) }.aside()
    } catch (refused: RemintException) {
        CompletableFuture.failedFuture(refused)
    }

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
