package peers

import dev.remint.Authorization
import dev.remint.Client
import dev.remint.OnRotated
import dev.remint.Token
import dev.remint.ktor.RemintAuth
import dev.remint.okhttp.RemintIOException
import dev.remint.okhttp.remint
import io.ktor.client.HttpClient
import io.ktor.client.engine.java.Java
import io.ktor.client.request.get
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import okhttp3.OkHttpClient
import okhttp3.Request

/** One of the ways in which a program calls `Client`. */
internal interface Style {
    suspend fun token(client: Client, force: Boolean): Token
    /** As many tokens, asked for at once. */
    suspend fun tokens(client: Client, callers: Int): List<Token>
    /** The status of one API request. */
    suspend fun call(client: Client, url: String): Int
    suspend fun authorizationUrl(client: Client, redirectUri: String, scope: List<String>?): Authorization
    suspend fun exchange(client: Client, callback: String, session: String, subject: String, onRotated: OnRotated): Token
    fun close()
}

/** Coroutines, and Ktor for API calls. */
internal class Suspending : Style {
    private val http = HttpClient(Java)

    override suspend fun token(client: Client, force: Boolean) = client.token(force = force)

    override suspend fun tokens(client: Client, callers: Int) = coroutineScope {
        List(callers) { async(Dispatchers.Default) { client.token() } }.awaitAll()
    }

    override suspend fun call(client: Client, url: String): Int =
        http.config { install(RemintAuth) { this.client = client } }.use { it.get(url).status.value }

    override suspend fun authorizationUrl(client: Client, redirectUri: String, scope: List<String>?) =
        client.authorizationUrl(redirectUri, scope)

    override suspend fun exchange(client: Client, callback: String, session: String, subject: String, onRotated: OnRotated) =
        client.exchange(callback, session, subject, onRotated)

    override fun close() = http.close()
}

/** Threads that block, and OkHttp for API calls. */
internal class Blocking : Style {
    private val http = OkHttpClient()

    override suspend fun token(client: Client, force: Boolean) = client.tokenBlocking(force = force)

    override suspend fun tokens(client: Client, callers: Int): List<Token> {
        val threads = Executors.newFixedThreadPool(callers)
        try {
            return threads.invokeAll(List(callers) { Callable { client.tokenBlocking() } }).map { it.get() }
        } finally {
            threads.shutdown()
        }
    }

    override suspend fun call(client: Client, url: String): Int {
        val calls = http.newBuilder().remint(client).build()
        try {
            return calls.newCall(Request.Builder().url(url).build()).execute().use { it.code }
        } catch (error: RemintIOException) {
            throw error.cause
        }
    }

    override suspend fun authorizationUrl(client: Client, redirectUri: String, scope: List<String>?) =
        client.authorizationUrlBlocking(redirectUri, scope)

    override suspend fun exchange(client: Client, callback: String, session: String, subject: String, onRotated: OnRotated) =
        client.exchangeBlocking(callback, session, subject, onRotated)

    override fun close() {
        http.connectionPool.evictAll()
        http.dispatcher.executorService.shutdown()
    }
}
