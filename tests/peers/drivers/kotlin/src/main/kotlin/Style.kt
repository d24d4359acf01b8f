package peers

import dev.remint.Authorization
import dev.remint.BackchannelAuthentication
import dev.remint.Client
import dev.remint.DeviceAuthorization
import dev.remint.Introspection
import dev.remint.OnRotated
import dev.remint.RegisteredClient
import dev.remint.Registrar
import dev.remint.RegistrationRequest
import dev.remint.Token
import dev.remint.ktor.RemintAuth
import dev.remint.okhttp.RemintIOException
import dev.remint.okhttp.remint
import io.ktor.client.HttpClient
import io.ktor.client.engine.java.Java
import io.ktor.client.request.request
import io.ktor.http.HttpMethod
import java.time.Duration
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.RequestBody.Companion.toRequestBody

/** One of the ways in which a program calls `Client`. */
internal interface Style {
    suspend fun token(client: Client, force: Boolean, timeout: Duration?): Token
    suspend fun invalidate(client: Client)
    /** As many tokens, asked for at once. */
    suspend fun tokens(client: Client, callers: Int): List<Token>
    /** The status of one API request, over TLS connections of the program's own if it needs any. */
    suspend fun call(client: Client, url: String, method: String, tls: Tls?): Int
    suspend fun authorizationUrl(
        client: Client, redirectUri: String, scope: List<String>?, parameters: Map<String, String>, details: List<Map<String, Any?>>?,
    ): Authorization
    suspend fun exchange(client: Client, callback: String, session: String, subject: String, onRotated: OnRotated): Token
    suspend fun deviceAuthorization(client: Client, scope: List<String>?): DeviceAuthorization
    suspend fun backchannelAuthentication(client: Client, loginHint: String?, bindingMessage: String?, scope: List<String>?): BackchannelAuthentication
    suspend fun poll(client: Client, session: String, subject: String, onRotated: OnRotated): Token
    suspend fun introspect(client: Client, token: String, hint: String?): Introspection
    suspend fun revoke(client: Client, token: String?, hint: String?)
    suspend fun register(registrar: Registrar, request: RegistrationRequest): RegisteredClient?
    fun close()
}

/** Coroutines, and Ktor for API calls. */
internal class Suspending : Style {
    private val http = HttpClient(Java)

    override suspend fun token(client: Client, force: Boolean, timeout: Duration?) = client.token(force = force, timeout = timeout)

    override suspend fun invalidate(client: Client) = client.invalidate()

    override suspend fun tokens(client: Client, callers: Int) = coroutineScope {
        List(callers) { async(Dispatchers.Default) { client.token() } }.awaitAll()
    }

    override suspend fun call(client: Client, url: String, method: String, tls: Tls?): Int {
        val http = if (tls == null) http else HttpClient(Java) { engine { config { sslContext(tls.context) } } }
        val calls = http.config { install(RemintAuth) { this.client = client } }
        try {
            return calls.use { it.request(url) { this.method = HttpMethod.parse(method) }.status.value }
        } finally {
            if (tls != null) http.close()
        }
    }

    override suspend fun authorizationUrl(
        client: Client, redirectUri: String, scope: List<String>?, parameters: Map<String, String>, details: List<Map<String, Any?>>?,
    ) = client.authorizationUrl(redirectUri, scope, parameters, details)

    override suspend fun deviceAuthorization(client: Client, scope: List<String>?) = client.deviceAuthorization(scope)

    override suspend fun backchannelAuthentication(client: Client, loginHint: String?, bindingMessage: String?, scope: List<String>?) =
        client.backchannelAuthentication(loginHint, bindingMessage, scope)

    override suspend fun poll(client: Client, session: String, subject: String, onRotated: OnRotated) = client.poll(session, subject, onRotated)

    override suspend fun introspect(client: Client, token: String, hint: String?) = client.introspect(token, hint)

    override suspend fun revoke(client: Client, token: String?, hint: String?) = client.revoke(token, hint)

    override suspend fun register(registrar: Registrar, request: RegistrationRequest) = registrar.register(request)

    override suspend fun exchange(client: Client, callback: String, session: String, subject: String, onRotated: OnRotated) =
        client.exchange(callback, session, subject, onRotated)

    override fun close() = http.close()
}

/** Threads that block, and OkHttp for API calls. */
internal class Blocking : Style {
    private val http = OkHttpClient()

    override suspend fun token(client: Client, force: Boolean, timeout: Duration?) = client.tokenBlocking(force = force, timeout = timeout)

    override suspend fun invalidate(client: Client) = client.invalidateBlocking()

    override suspend fun tokens(client: Client, callers: Int): List<Token> {
        val threads = Executors.newFixedThreadPool(callers)
        try {
            return threads.invokeAll(List(callers) { Callable { client.tokenBlocking() } }).map { it.get() }
        } finally {
            threads.shutdown()
        }
    }

    override suspend fun call(client: Client, url: String, method: String, tls: Tls?): Int {
        val calls = http.newBuilder().remint(client).apply { if (tls != null) sslSocketFactory(tls.context.socketFactory, tls.trust) }.build()
        val body = if (method in setOf("GET", "HEAD")) null else "".toRequestBody()
        try {
            return calls.newCall(Request.Builder().url(url).method(method, body).build()).execute().use { it.code }
        } catch (error: RemintIOException) {
            throw error.cause
        }
    }

    override suspend fun authorizationUrl(
        client: Client, redirectUri: String, scope: List<String>?, parameters: Map<String, String>, details: List<Map<String, Any?>>?,
    ) = client.authorizationUrlBlocking(redirectUri, scope, parameters, details)

    override suspend fun deviceAuthorization(client: Client, scope: List<String>?) = client.deviceAuthorizationBlocking(scope)

    override suspend fun backchannelAuthentication(client: Client, loginHint: String?, bindingMessage: String?, scope: List<String>?) =
        client.backchannelAuthenticationBlocking(loginHint, bindingMessage, scope)

    override suspend fun poll(client: Client, session: String, subject: String, onRotated: OnRotated) = client.pollBlocking(session, subject, onRotated)

    override suspend fun introspect(client: Client, token: String, hint: String?) = client.introspectBlocking(token, hint)

    override suspend fun revoke(client: Client, token: String?, hint: String?) = client.revokeBlocking(token, hint)

    override suspend fun register(registrar: Registrar, request: RegistrationRequest) = registrar.registerBlocking(request)

    override suspend fun exchange(client: Client, callback: String, session: String, subject: String, onRotated: OnRotated) =
        client.exchangeBlocking(callback, session, subject, onRotated)

    override fun close() {
        http.connectionPool.evictAll()
        http.dispatcher.executorService.shutdown()
    }
}
