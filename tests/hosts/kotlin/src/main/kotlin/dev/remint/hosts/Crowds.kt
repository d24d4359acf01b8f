package dev.remint.hosts

import dev.remint.RemintException
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import kotlinx.coroutines.joinAll
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.put
import java.time.Duration
import java.util.concurrent.CancellationException as FutureCancelled
import java.util.concurrent.CompletableFuture
import java.util.concurrent.atomic.AtomicInteger
import kotlin.random.Random

/** Many callers at once. */
internal fun Suite.crowds() {
    println(if (VirtualThreads.exist) "this JVM has virtual threads" else "this JVM has no virtual threads: their tests are not here")
    for (callers in allCallers()) crowdsOf(callers)

    alone("crowd: 64 threads and 1,000 coroutines together on a cold key cause one token request") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 300) }
        val client = lane.client()
        val threads = inThread { PlatformThreads.ask(64, client) }
        val tokens = Coroutines.ask(1_000, client) + threads.get()
        equal(1, distinct(tokens), "tokens")
        equal(1, lane.tokenRequests(), "requests")
    }

    alone("crowd: 300 of 1,000 coroutines that are cancelled at random harm nobody") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 500) }
        val client = lane.client()
        val dice = Random(7)
        val (served, left) = runBlocking(Dispatchers.Default) {
            val calls = List(1_000) { async { runCatching { client.token() } } }
            launch {
                for (call in calls.shuffled(dice).take(300)) {
                    call.cancel()
                    if (dice.nextInt(10) == 0) delay(dice.nextLong(10))
                }
            }
            val outcomes = calls.map { call -> runCatching { call.await() }.fold({ it }, { Result.failure(it) }) }
            outcomes.mapNotNull { it.getOrNull() } to outcomes.mapNotNull { it.exceptionOrNull() }
        }
        check(left.all { it is CancellationException }) { left.first { it !is CancellationException } }
        equal(1, distinct(served), "tokens")
        equal(1_000, served.size + left.size, "outcomes")
        check(served.size >= 700) { "${served.size} served" }
        equal(1, lane.tokenRequests(), "requests")
        check(client.peek() != null) { "nothing was kept" }
    }

    test("crowd: futures that are cancelled harm nobody") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 300) }
        val client = lane.client()
        val futures = List(100) { client.tokenAsync() }
        futures.filterIndexed { index, _ -> index % 3 == 0 }.forEach { it.cancel(true) }
        futures.forEachIndexed { index, future ->
            if (index % 3 == 0) failure<FutureCancelled> { future.get() } else equal(1, future.get().generation, "generation")
        }
        equal(1, lane.tokenRequests(), "requests")
    }

    test("crowd: threads that are interrupted leave, and harm nobody") {
        val lane = Lane()
        lane.fault { put("hold", true) }
        val client = lane.client()
        val outcomes = List(20) { CompletableFuture<Result<Long>>() }
        val flags = BooleanArray(20)
        val threads = outcomes.mapIndexed { index, outcome ->
            val run = Runnable {
                val result = runCatching { client.tokenBlocking().generation }
                flags[index] = Thread.currentThread().isInterrupted
                outcome.complete(result)
            }
            Thread(run).apply { isDaemon = true; start() }
        }
        eventually("a request") { lane.count("token/running") == 1L }
        val (leaving, staying) = threads.indices.partition { it % 2 == 0 }
        leaving.forEach { threads[it].interrupt() }
        for (index in leaving) {
            val left = outcomes[index].get()
            check(left.exceptionOrNull() is FutureCancelled && flags[index]) { "$left, interrupted: ${flags[index]}" }
        }
        lane.release()
        staying.forEach { equal(1, outcomes[it].get().getOrThrow(), "generation") }
        equal(1, lane.tokenRequests(), "requests")
    }

    test("crowd: even if all who wait are cancelled, the request fills the cache") {
        val lane = Lane()
        lane.fault { put("hold", true) }
        val client = lane.client()
        runBlocking {
            val calls = List(20) { launch(Dispatchers.Default) { client.token() } }
            withTimeoutOrNull(20_000) { while (lane.count("token/running") != 1L) delay(5) }
            calls.forEach { it.cancel() }
            calls.joinAll()
        }
        lane.release()
        equal(1, client.tokenBlocking().generation, "generation")
        equal(1, lane.tokenRequests(), "requests")
    }

    test("crowd: a coroutine scope that ends takes nobody else with it") {
        val lane = Lane()
        lane.fault { put("hold", true) }
        val client = lane.client()
        // The first caller starts the request, and leaves.
        runBlocking { withTimeoutOrNull(300) { client.token() } }
        val second = client.tokenAsync()
        lane.release()
        equal(1, second.get().generation, "generation")
        equal(1, lane.tokenRequests(), "requests")
    }

    alone("crowd: threads without patience are told so and harm nobody") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 1_500) }
        val client = lane.client()
        val results = inThreads(200) { index ->
            client.tokenBlocking(Duration.ZERO, false, Duration.ofMillis(if (index % 5 == 0) 100 else 30_000))
        }
        val failed = results.mapNotNull { it.exceptionOrNull() }
        equal(40, failed.size, "failed")
        check(failed.all { it is RemintException && it.code == "timeout" && it.isRetryable }) { failed.first() }
        equal(1, lane.tokenRequests(), "requests")
    }

    test("crowd: a slow key does not delay another") {
        val lane = Lane()
        lane.register("two", "x", listOf("slow", "fast"))
        val client = lane.client("phoenix-market") { clientId("two").clientSecret("x") }
        lane.fault { put("hold", true) }
        val slow = client.withScope("slow").tokenAsync()
        eventually("a request") { lane.count("token/running") == 1L }
        check(millis { client.withScope("fast").tokenBlocking() } < 10_000) { "the fast key waited" }
        check(!slow.isDone) { "the slow key did not wait" }
        lane.release()
        slow.get()
    }

    test("crowd: a caller at the hard margin goes on with its token when the server is slow") {
        val lane = Lane()
        val clock = MovedClock()
        val client = lane.client { clock(clock) }
        val first = client.tokenBlocking()
        lane.fault { put("hold", true) }
        clock.moveTo(HOUR - 3_000)
        val took = millis { equal(first.generation, client.tokenBlocking().generation, "generation") }
        // Half of what was left.
        check(took in 900..2_900) { "$took ms" }
        lane.release()
    }

    alone("crowd: without background refresh one caller runs the renewal and the others go on") {
        val lane = Lane()
        val clock = MovedClock()
        val client = lane.client { clock(clock).backgroundRefresh(false) }
        val first = client.tokenBlocking()
        lane.settings { put("token_latency_ms", 2_000) }
        clock.moveTo(HOUR - 200_000)
        val tokens = PlatformThreads.ask(50, client)
        equal(1, tokens.count { it.generation != first.generation }, "callers who waited")
        equal(2, lane.tokenRequests(), "requests")
    }

    test("crowd: 64 API calls with a revoked token cost one token request") {
        val lane = Lane()
        val client = lane.client("personify")
        client.tokenBlocking()
        lane.revoke()
        val url = "${lane.url("personify")}/v1/people"
        val retried = AtomicInteger()
        val statuses = inThreads(64) {
            val token = client.tokenBlocking()
            val answer = Http.get(url, client.headersBlocking("GET", url))
            if (answer.statusCode() != 401) return@inThreads answer.statusCode()
            check(client.rejectBlocking(token, "GET", url, 401, answer.headers().map())) { "no second try" }
            retried.incrementAndGet()
            Http.get(url, client.headersBlocking("GET", url)).statusCode()
        }.map { it.getOrThrow() }
        equal(setOf(200), statuses.toSet(), "statuses")
        check(retried.get() > 0) { "nobody was refused" }
        equal(2, lane.tokenRequests(), "requests")
    }
}

private fun Suite.crowdsOf(callers: Callers) {
    alone("crowd: 1,000 ${callers.title} on a cold key cause one token request") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 200) }
        val client = lane.client()
        equal(1, distinct(callers.ask(1_000, client)), "tokens")
        equal(1, lane.tokenRequests(), "requests")
    }

    alone("crowd: 1,000 ${callers.title} at the soft margin cause one request, and none of them waits for it") {
        val lane = Lane()
        val clock = MovedClock()
        val client = lane.client { clock(clock) }
        val first = client.tokenBlocking()
        lane.fault { put("hold", true) }
        clock.moveTo(HOUR - 200_000)
        // Whoever waited would wait until the release.
        val tokens = callers.ask(1_000, client)
        check(tokens.all { it.accessToken == first.accessToken }) { "somebody got another token" }
        eventually("the request") { lane.count("token/running") == 1L }
        lane.release()
        eventually("the renewal") { client.tokenBlocking().generation == 2L }
        equal(2, lane.tokenRequests(), "requests")
    }

    alone("crowd: 1,000 ${callers.title} at the hard margin wait for the one request") {
        val lane = Lane()
        val clock = MovedClock()
        val client = lane.client { clock(clock) }
        val first = client.tokenBlocking()
        lane.settings { put("token_latency_ms", 300) }
        clock.moveTo(HOUR - 20_000)
        val tokens = callers.ask(1_000, client)
        equal(setOf(first.generation + 1), tokens.map { it.generation }.toSet(), "generations")
        equal(2, lane.tokenRequests(), "requests")
    }

    alone("crowd: a request that is refused fails all 1,000 ${callers.title} that wait for it") {
        val lane = Lane()
        lane.fault { put("status", 400); put("error", "invalid_client"); put("count", JsonNull); put("delay_ms", 500) }
        val client = lane.client()
        val failures = callers.ask(1_000) { client }.map { it.exceptionOrNull() }
        check(failures.all { it is RemintException && it.code == "invalid_client" }) { failures.first { (it as? RemintException)?.code != "invalid_client" } }
        equal(1, lane.tokenRequests(), "requests")
    }

    alone("crowd: 300 keys of ${callers.title} cause 300 requests at the same time") {
        val lane = Lane()
        val scopes = List(300) { "scope-$it" }
        lane.register("many", "x", scopes)
        lane.settings { put("token_latency_ms", 1_000) }
        val client = lane.client("phoenix-market") { clientId("many").clientSecret("x").requestTimeout(Duration.ofSeconds(60)) }
        var tokens = emptyList<dev.remint.Token>()
        val took = millis {
            tokens = callers.ask(300, Duration.ofSeconds(60)) { client.withScope(scopes[it]) }.map { it.getOrThrow() }
        }
        equal(300, distinct(tokens), "tokens")
        equal(300, lane.tokenRequests(), "requests")
        // One after the other they would take 300 s.
        check(took < 30_000) { "$took ms" }
        check(lane.count("token/running_max") > 50) { "${lane.count("token/running_max")} at once" }
    }
}
