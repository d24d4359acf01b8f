package dev.remint.hosts

import dev.remint.Client
import dev.remint.Notice
import dev.remint.RemintException
import dev.remint.ServerException
import dev.remint.TransportException
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonObjectBuilder
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.add
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonArray
import kotlinx.serialization.json.putJsonObject
import java.io.ByteArrayOutputStream
import java.io.InputStream
import java.net.ServerSocket
import java.time.Duration
import java.util.concurrent.CopyOnWriteArrayList
import java.util.zip.GZIPOutputStream
import kotlin.concurrent.thread

/** A way to misbehave, and what a caller with two seconds of patience is told while it lasts. */
private class Fault(
    val name: String,
    val code: String,
    val status: Int? = null,
    /** `retryAfter` is at least so long. */
    val least: Duration? = null,
    rule: JsonObjectBuilder.() -> Unit,
) {
    val rule: JsonObject = buildJsonObject(rule)
    val lasting: JsonObject = JsonObject(this.rule + ("count" to JsonNull))

    /** Whether the next attempt may succeed at once. */
    val passes: Boolean = code in setOf("server_unavailable", "transport_failed", "timeout")
}

private val FAULTS = listOf(
    Fault("500", "server_unavailable", 500) { put("status", 500) },
    Fault("502 with a page", "server_unavailable", 502) { put("status", 502); put("body", "<html>"); put("content_type", "text/html") },
    Fault("503", "server_unavailable", 503) { put("status", 503) },
    Fault("503 with Retry-After in seconds", "server_unavailable", 503, Duration.ofSeconds(6)) { put("status", 503); put("retry_after", "7") },
    Fault("429 with Retry-After as a date", "server_unavailable", 429, Duration.ofSeconds(7)) { put("status", 429); put("retry_after", "date+9") },
    Fault("408", "server_unavailable", 408) { put("status", 408) },
    Fault("500 though the request was carried out", "server_unavailable", 500) { put("status", 500); put("process", true) },
    Fault("an OAuth error in a 503", "server_unavailable", 503) { put("status", 503); put("error", "invalid_client") },
    Fault("invalid_client", "invalid_client", 401) { put("status", 401); put("error", "invalid_client") },
    Fault("invalid_scope", "invalid_scope", 400) { put("error", "invalid_scope") },
    Fault("a bare 401", "invalid_client", 401) { put("status", 401) },
    Fault("a bare 403", "unexpected_answer", 403) { put("status", 403) },
    Fault("a bare 404", "unexpected_answer", 404) { put("status", 404) },
    Fault("404 with a page", "unexpected_answer", 404) { put("status", 404); put("body", "<html>"); put("content_type", "text/html") },
    Fault("a code that nobody knows", "unexpected_answer", 400) { put("error", "whatever") },
    Fault("an error in a 200", "invalid_client", 200) { put("body", """{"error":"invalid_client"}""") },
    Fault("garbage", "unexpected_answer", 200) { put("garbage", true) },
    Fault("an empty 200", "unexpected_answer", 200) { put("status", 200); put("body", "") },
    Fault("a page with 200", "unexpected_answer", 200) { put("body", "<html></html>"); put("content_type", "text/html") },
    Fault("a redirect", "unexpected_answer", 307) { put("redirect", "https://elsewhere.example/") },
    Fault("a redirect to the same server", "unexpected_answer", 302) { put("redirect", Authority.address("http") + "/echo"); put("redirect_status", 302) },
    Fault("100 MB", "answer_too_large") { put("body_bytes", 104_857_600) },
    Fault("100 MB in a 503", "answer_too_large") { put("body_bytes", 104_857_600); put("status", 503) },
    Fault("a connection cut before", "transport_failed") { put("cut", "before") },
    Fault("a connection cut after processing", "transport_failed") { put("cut", "after_processing") },
    Fault("a connection cut after the headers", "transport_failed") { put("cut", "after_headers") },
    Fault("a connection cut in the body", "transport_failed") { put("cut", "mid_body") },
    Fault("no answer", "timeout") { put("hold", true) },
    Fault("an answer that comes too late", "timeout") { put("delay_ms", 5_000) },
    Fault("an answer that is late after the work", "timeout") { put("delay_after_ms", 5_000) },
    Fault("a body byte by byte", "timeout") { put("slow_body_ms_per_byte", 100) },
)

private val PATIENCE: Duration = Duration.ofSeconds(2)

/** Each way in which the authority can misbehave: the outcome that is expected, no hang, no secret in what is said. */
internal fun Suite.faults() {
    for (fault in FAULTS) {
        for (callers in allCallers()) {
            test("fault: ${fault.name}, for good: ${callers.title} are told ${fault.code}") { lasting(fault, callers) }
        }
        test("fault: ${fault.name}, while a token is in hand: nobody fails") { inHand(fault) }
        if (fault.passes && fault.least == null) {
            test("fault: ${fault.name}, once: the next attempt succeeds within the caller's patience") { once(fault) }
        }
    }
    answers()
    rotations()
    transports()
}

private fun lasting(fault: Fault, callers: Callers) {
    val lane = Lane()
    lane.fault(fault.lasting)
    val notices = CopyOnWriteArrayList<Notice>()
    // A busy machine is slow, too: only where slowness is the fault is there little time.
    val limit = Duration.ofMillis(if (fault.code == "timeout") 500 else 10_000)
    val patience = if (fault.code == "timeout" || fault.least != null) PATIENCE else Duration.ofSeconds(15)
    val client = lane.client { requestTimeout(limit).onNotice { notices += it } }
    val results = callers.ask(20, patience) { client }
    for (result in results) {
        val error = result.exceptionOrNull() as? RemintException ?: throw AssertionError("came $result", result.exceptionOrNull())
        equal(fault.code, error.code, "code")
        equal(fault.status, error.status, "status")
        equal(fault.passes, error.isRetryable, "retryable")
        if (fault.least != null) check((error.retryAfter ?: Duration.ZERO) >= fault.least) { "retry after ${error.retryAfter}" }
        checkNoSecret(error.stackTraceToString() + error)
    }
    check(notices.none { "s3cret" in it.toString() }) { notices }
    check(lane.tokenRequests() in 1..5) { "${lane.tokenRequests()} requests" }
    equal(0, lane.count("echo/total"), "redirects that were followed")
    lane.release()
    client.close()
}

private fun inHand(fault: Fault) {
    val lane = Lane()
    val clock = MovedClock()
    val client = lane.client { clock(clock).requestTimeout(Duration.ofMillis(500)) }
    val first = client.tokenBlocking()
    lane.fault(fault.lasting)
    for (left in listOf(200_000, 20_000)) {
        clock.moveTo(HOUR - left)
        val tokens = PlatformThreads.ask(16, client) + Coroutines.ask(50, client)
        check(tokens.all { it.accessToken == first.accessToken }) { "somebody got another token" }
    }
    lane.release()
    client.close()
}

private fun once(fault: Fault) {
    val lane = Lane()
    lane.fault(fault.rule)
    val limit = Duration.ofMillis(if (fault.code == "timeout") 1_500 else 10_000)
    val client = lane.client { requestTimeout(limit) }
    equal("Bearer", client.tokenBlocking().tokenType, "token type")
    equal(2, lane.tokenRequests(), "requests")
    lane.release()
}

private fun Suite.answers() {
    test("fault: nothing listens: callers are told so, with the host's own exception as cause, and no secret in it") {
        val port = ServerSocket(0).use { it.localPort }
        val client = Lane().client { variable("token_endpoint", "http://127.0.0.1:$port/token") }
        val error = failure<TransportException> { client.tokenBlocking(Duration.ZERO, false, PATIENCE) }
        equal("transport_failed", error.code, "code")
        check(generateSequence<Throwable>(error) { it.cause }.any { it is java.net.ConnectException }) { error.stackTraceToString() }
        checkNoSecret(error.stackTraceToString())
    }

    for ((name, settings) in listOf<Pair<String, JsonObjectBuilder.() -> Unit>>(
        "expires_in as a string" to { put("expires_in", "3600") },
        "expires_in as 1e3" to { put("expires_in", 1e3) },
        "no expires_in" to { put("omit_expires_in", true) },
        "expires_in null" to { put("expires_in", JsonNull) },
        "a Date 10 minutes ahead" to { put("date_skew_s", 600) },
        "a Date 10 minutes behind" to { put("date_skew_s", -600) },
        "an access token of 16 KB" to { put("token_bytes", 16_000) },
        "a token_type in other letters" to { put("token_type", "bEARER") },
        "no scope" to { put("omit_scope", true) },
    )) {
        test("fault: $name: the token is kept") {
            val lane = Lane()
            lane.settings(settings)
            val client = lane.client()
            repeat(3) { client.tokenBlocking() }
            check(client.peek()!!.expiresIn() > Duration.ofSeconds(800)) { client.peek() }
            equal(1, lane.tokenRequests(), "requests")
        }
    }

    test("fault: an answer without a Date, and with odd headers: the token is kept, and no cookie comes back") {
        val lane = Lane()
        lane.fault {
            put("no_date", true)
            put("count", JsonNull)
            putJsonObject("headers") { putJsonArray("set-cookie") { add("a=1"); add("b=2") }; put("x-odd", "é") }
        }
        val client = lane.client()
        client.tokenBlocking()
        client.tokenBlocking(Duration.ZERO, true, PATIENCE)
        check(lane.log("token").none { "cookie" in it["header_names"].toString() }) { lane.log("token") }
        equal(2, lane.tokenRequests(), "requests")
    }

    for ((type, code) in listOf(JsonNull to "unexpected_answer", JsonPrimitive("mac") to "unsupported_token_type")) {
        test("fault: a token_type of $type: $code") {
            val lane = Lane()
            lane.settings { put("token_type", type) }
            val error = failure<ServerException> { lane.client().tokenBlocking() }
            equal(code, error.code, "code")
            equal(1, lane.tokenRequests(), "requests")
        }
    }

    test("fault: expires_in of -1: who waits gets the token once, and it is not kept") {
        val lane = Lane()
        lane.settings { put("expires_in", -1) }
        val client = lane.client()
        client.tokenBlocking()
        equal(null, client.peek(), "kept")
    }

    test("fault: a token ages on its way") {
        val lane = Lane()
        lane.fault { put("delay_after_ms", 1_500) }
        val left = lane.client().tokenBlocking().expiresIn()
        check(left <= Duration.ofMillis(HOUR - 1_500)) { left }
    }

    test("fault: a lifetime of one second costs no token request per call") {
        val lane = Lane()
        lane.settings { put("lifetime_s", 1) }
        val client = lane.client()
        val end = System.nanoTime() + Duration.ofSeconds(3).toNanos()
        var calls = 0
        while (System.nanoTime() < end) {
            check(client.tokenBlocking().expiresIn() > Duration.ZERO) { "an expired token" }
            calls++
            Thread.sleep(2)
        }
        check(lane.tokenRequests() <= 8) { "${lane.tokenRequests()} requests for $calls calls in 3 s" }
    }

    test("fault: a soft renewal that fails is tried again long before the token ends") {
        val lane = Lane()
        val clock = MovedClock()
        val client = lane.client { clock(clock) }
        val first = client.tokenBlocking()
        lane.fault { put("status", 503) }
        clock.moveTo(HOUR - 200_000)
        eventually("another attempt") { client.tokenBlocking().generation != first.generation }
        equal(3, lane.tokenRequests(), "requests")
    }

    test("fault: a renewal that gives the same token again does not cost a request per call") {
        val lane = Lane()
        lane.settings { put("same_token_on_refresh", true) }
        val clock = MovedClock()
        val client = lane.client("rapidomize") { clock(clock) }.withSubject("bob", lane.mint("bob"))
        val first = client.tokenBlocking()
        clock.moveTo(2 * HOUR - 200_000)
        repeat(200) { equal(first.accessToken, client.tokenBlocking().accessToken, "token") }
        check(lane.tokenRequests() <= 4) { "${lane.tokenRequests()} requests" }
    }

    test("fault: a wrong secret is told once, with what to do, and is not tried again at once") {
        val lane = Lane()
        val client = lane.client { clientSecret("$SECRET?") }
        repeat(20) { equal("invalid_client", failure<ServerException> { client.tokenBlocking() }.code, "code") }
        equal(1, lane.tokenRequests(), "requests")
    }

    test("fault: 100 API calls that are all refused do not cost a token request each") {
        val lane = Lane()
        lane.fault { put("endpoint", "api"); put("status", 401); put("count", JsonNull) }
        val client = lane.client()
        val url = "${lane.url("phoenix-wallet")}/v1/wallets"
        repeat(50) { equal(401, call(client, url), "status") }
        check(lane.tokenRequests() <= 3) { "${lane.tokenRequests()} requests" }
    }
}

private fun Suite.rotations() {
    test("fault: an answer that was lost after a rotation costs one more attempt within the server's grace") {
        val lane = Lane()
        lane.settings { put("reuse_grace_s", 60) }
        val saved = CopyOnWriteArrayList<String>()
        val client = lane.client("rapidomize").withSubject("dave", lane.mint("dave")) { token, _ -> saved += token }
        lane.fault { put("grant", "refresh_token"); put("cut", "after_processing") }
        equal("Bearer", client.tokenBlocking().tokenType, "token type")
        equal(1, saved.size, "saved")
    }

    test("fault: an answer that was lost after a rotation, without grace, needs the person, and the error says why") {
        val lane = Lane()
        val refreshToken = lane.mint("erin")
        val client = lane.client("rapidomize").withSubject("erin", refreshToken)
        lane.fault { put("grant", "refresh_token"); put("cut", "after_processing") }
        val error = failure<ServerException> { client.tokenBlocking() }
        equal("reauthorization_required", error.code, "code")
        check(error.isAmbiguous) { "it is not ambiguous" }
        checkNoSecret(error.stackTraceToString(), refreshToken)
    }

    test("fault: a refresh token whose time is over needs the person") {
        val lane = Lane()
        lane.settings { put("refresh_lifetime_s", 0.001) }
        val client = lane.client("rapidomize").withSubject("fay", lane.mint("fay"))
        // The next one lives shorter than the way to the server takes.
        client.tokenBlocking()
        client.invalidateBlocking()
        equal("invalid_grant", failure<ServerException> { client.tokenBlocking() }.code, "code")
    }

    test("fault: a server that does not rotate keeps the refresh token good") {
        val lane = Lane()
        lane.settings { put("rotation", false) }
        val client = lane.client("rapidomize").withSubject("gus", lane.mint("gus"))
        val tokens = List(3) { client.tokenBlocking(Duration.ZERO, true, PATIENCE) }
        equal(3, distinct(tokens), "tokens")
        equal(0, lane.count("refresh_tokens_reused"), "reused")
    }

    test("fault: a new refresh token that could not be saved is told, and not lost") {
        val lane = Lane()
        val notices = CopyOnWriteArrayList<Notice>()
        val client = lane.client("rapidomize") { onNotice { notices += it } }
            .withSubject("hal", lane.mint("hal")) { _, _ -> throw IllegalStateException("the database is down") }
        client.tokenBlocking()
        eventually("the notice") { notices.any { it.name == "persist_failed" } }
        client.tokenBlocking(Duration.ZERO, true, PATIENCE)
        equal(0, lane.count("refresh_tokens_reused"), "reused")
    }
}

private fun Suite.transports() {
    test("fault: a server that drips its headers is left at the deadline, and not per read") {
        ServerSocket(0).use { listener ->
            thread(isDaemon = true) {
                runCatching {
                    listener.accept().use { connection ->
                        val text = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + "X: y\r\n".repeat(200)
                        for (byte in text.toByteArray()) {
                            connection.getOutputStream().write(byte.toInt())
                            Thread.sleep(50)
                        }
                    }
                }
            }
            val client = Lane().client {
                variable("token_endpoint", "http://127.0.0.1:${listener.localPort}/token")
                requestTimeout(Duration.ofMillis(500)).policy(mapOf("attempts" to 1))
            }
            val took = millis { equal("timeout", failure<TransportException> { client.tokenBlocking() }.code, "code") }
            check(took < 10_000) { "$took ms" }
        }
    }

    test("fault: a server that speaks no HTTP") {
        ServerSocket(0).use { listener ->
            answering(listener, "220 smtp.example ESMTP\r\n".toByteArray())
            val client = Lane().client {
                variable("token_endpoint", "http://127.0.0.1:${listener.localPort}/token").policy(mapOf("attempts" to 1))
            }
            val error = failure<TransportException> { client.tokenBlocking() }
            equal("transport_failed", error.code, "code")
            checkNoSecret(error.stackTraceToString())
        }
    }

    test("fault: a server that compresses though nobody asked it to") {
        val body = ByteArrayOutputStream().also { GZIPOutputStream(it).use { gzip -> gzip.write(ByteArray(100_000_000)) } }.toByteArray()
        ServerSocket(0).use { listener ->
            val head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: ${body.size}\r\n\r\n"
            answering(listener, head.toByteArray() + body)
            val client = Lane().client { variable("token_endpoint", "http://127.0.0.1:${listener.localPort}/token") }
            val error = failure<RemintException> { client.tokenBlocking() }
            check(error.code == "unexpected_answer" || error.code == "answer_too_large") { error }
        }
    }

    test("fault: a GET for a token is sent once, too: a connection that is cut costs no hidden repetition") {
        val lane = Lane()
        val client = lane.client("phoenix-security") { policy(mapOf("attempts" to 1)) }
        client.tokenBlocking()
        client.invalidateBlocking()
        lane.fault { put("cut", "before"); put("count", JsonNull) }
        equal("transport_failed", failure<TransportException> { client.tokenBlocking() }.code, "code")
        equal(2, lane.tokenRequests(), "requests")
    }
}

/** Says the same to everybody. */
private fun answering(listener: ServerSocket, answer: ByteArray) {
    thread(isDaemon = true) {
        runCatching {
            while (true) {
                listener.accept().use { connection ->
                    connection.getInputStream().readSome()
                    connection.getOutputStream().write(answer)
                }
            }
        }
    }
}

private fun InputStream.readSome() {
    read(ByteArray(65_536))
}

/** One API call with the one repetition that the core may ask for; the status that the caller sees. */
internal fun call(client: Client, url: String, method: String = "GET", body: String? = null): Int {
    val token = client.tokenBlocking()
    val answer = Http.send(method, url, client.headersBlocking(method, url), body)
    if (answer.statusCode() != 401 || !client.rejectBlocking(token, method, url, 401, answer.headers().map())) return answer.statusCode()
    return Http.send(method, url, client.headersBlocking(method, url), body).statusCode()
}
