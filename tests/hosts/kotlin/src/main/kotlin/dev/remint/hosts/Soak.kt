package dev.remint.hosts

import dev.remint.Builder
import dev.remint.Client
import dev.remint.HttpRequest
import dev.remint.HttpResponse
import dev.remint.RemintException
import dev.remint.Transport
import dev.remint.UsageException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import java.net.ConnectException
import java.net.SocketException
import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage
import java.util.concurrent.Executors
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.atomic.AtomicReference

/**
 * Threads and coroutines that do all at once whatever a client can, before a server that fails at random: nobody hangs, nobody
 * gets an expired token, and no two requests are in the air for one token.
 */
internal fun Suite.soak() {
    alone("soak: threads") {
        for (aside in listOf(true, false)) {
            Server().use { server ->
                val client = server.client { backgroundRefresh(aside) }
                val end = System.nanoTime() + TimeUnit.SECONDS.toNanos(3)
                val served = inThreads(16) {
                    var served = 0
                    while (System.nanoTime() < end) {
                        val draw = server.draw()
                        val outcome = runCatching { client.tokenBlocking(minTtl(draw), draw % 7 == 0, Duration.ofMillis(draw % 400L)) }
                        if (outcome.isSuccess) served++ else expected(outcome.exceptionOrNull())
                        afterwards(client, draw)
                        Thread.sleep(draw % 3L)
                    }
                    served
                }.sumOf { it.getOrThrow() }
                within(30) { client.close() }
                check(served > 100) { "$served served" }
                server.check()
            }
        }
    }

    alone("soak: coroutines, of which some are cancelled") {
        Server().use { server ->
            val client = server.client()
            val end = System.nanoTime() + TimeUnit.SECONDS.toNanos(4)
            val served = AtomicInteger()
            val failed = AtomicReference<Throwable>()
            runBlocking(Dispatchers.Default) {
                repeat(64) {
                    launch {
                        while (System.nanoTime() < end) {
                            val draw = server.draw()
                            val outcome = withTimeoutOrNull(draw % 300L) {
                                try {
                                    Result.success(client.token(minTtl(draw), draw % 7 == 0, Duration.ofMillis(draw % 400L)))
                                } catch (error: RemintException) {
                                    Result.failure(error)
                                }
                            }
                            if (outcome?.isSuccess == true) served.incrementAndGet()
                            runCatching { outcome?.exceptionOrNull()?.let(::expected) }.onFailure(failed::set)
                            afterwards(client, draw)
                            delay(draw % 3L)
                        }
                    }
                }
            }
            failed.get()?.let { throw it }
            within(30) { client.close() }
            check(served.get() > 100) { "$served served" }
            server.check()
        }
    }
}

private fun minTtl(draw: Int): Duration = Duration.ofMillis(if (draw % 5 == 0) 400 else 0)

private fun expected(error: Throwable?) = check(error is RemintException && error !is UsageException) { error?.stackTraceToString() }

private fun afterwards(client: Client, draw: Int) {
    client.peek()?.let { check(it.expiresIn() <= Duration.ofSeconds(3)) { it } }
    if (draw % 211 == 0) client.invalidateBlocking()
    if (draw % 97 == 0) client.peek()?.let { client.rejectBlocking(it, "GET", "https://api.example/", 401) }
}

/** A server that answers in many ways, and what it saw. */
private class Server : Transport, AutoCloseable {
    private val executor = Executors.newScheduledThreadPool(2)
    private val draws = AtomicInteger()
    private val atOnce = AtomicInteger()
    private val mostAtOnce = AtomicInteger()
    private val requests = AtomicInteger()

    /** A number that looks random and is the same in each run. */
    fun draw(): Int {
        val number = draws.getAndIncrement() * -0x61c88647
        return ((number xor (number ushr 15)) * -0x7a143595) ushr 8
    }

    fun client(configure: Builder.() -> Unit = {}): Client = Client("phoenix-market", "soak", "s3cret") {
        variable("token_endpoint", "https://auth.example/token").apiOrigins("https://api.example").http(this@Server)
        // Else pauses would be longer than the test.
        val names = listOf("terminalFirstMin", "terminalFirstMax", "terminalMax", "backoffFirstMin", "backoffFirstMax", "backoffMax")
        policy(names.zip(listOf(0.01, 0.05, 0.1, 0.01, 0.05, 0.1)).toMap())
        configure()
    }

    override fun send(request: HttpRequest): CompletionStage<HttpResponse> {
        requests.incrementAndGet()
        mostAtOnce.accumulateAndGet(atOnce.incrementAndGet(), ::maxOf)
        val answer = CompletableFuture<HttpResponse>()
        val task = Runnable {
            atOnce.decrementAndGet()
            when (val draw = draw() % 12) {
                0 -> answer.complete(HttpResponse(503, emptyMap(), ByteArray(0)))
                1 -> answer.complete(json(400, """{"error":"invalid_scope"}"""))
                2 -> answer.complete(json(200, "garbage"))
                3 -> answer.completeExceptionally(SocketException())
                4 -> answer.completeExceptionally(ConnectException())
                5 -> answer.complete(json(200, token(0)))
                else -> answer.complete(json(200, token(draw % 3 + 1)))
            }
        }
        executor.schedule(task, draw() % 30L, TimeUnit.MILLISECONDS)
        return answer
    }

    fun check() {
        equal(0, atOnce.get(), "requests that are left")
        equal(1, mostAtOnce.get(), "requests at once")
        check(requests.get() > 5) { "$requests requests" }
    }

    override fun close() {
        executor.shutdownNow()
    }

    private fun json(status: Int, body: String) = HttpResponse(status, mapOf("content-type" to listOf("application/json")), body.toByteArray())

    private fun token(lifetime: Int) = """{"access_token":"${draw()}","token_type":"Bearer","expires_in":$lifetime}"""
}
