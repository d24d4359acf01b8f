package dev.remint.hosts

import dev.remint.Client
import dev.remint.RemintException
import dev.remint.UsageException
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.put
import java.io.File
import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration
import java.util.concurrent.CountDownLatch
import java.util.concurrent.ForkJoinPool
import java.util.concurrent.TimeUnit
import kotlin.system.exitProcess

/** Closing a client, and the end of a process. */
internal fun Suite.endings() {
    closing()
    processes()
}

private fun Suite.closing() {
    test("end: close waits for what is in the air, and what is closed stays closed") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 500) }
        val client = lane.client()
        val call = client.tokenAsync()
        eventually("a request") { lane.count("token/running") == 1L }
        client.close()
        equal(1, lane.count("token/by_status/200"), "answered")
        check(call.isDone) { "its caller still waits" }
        for (view in listOf(client, client.withScope("ledger:read"))) {
            equal("closed", failure<UsageException> { view.tokenBlocking() }.code, "code")
            equal("closed", failure<UsageException> { runBlocking { view.token() } }.code, "code")
            equal("closed", failure<UsageException> { view.headersBlocking("GET", lane.url("phoenix-wallet")) }.code, "code")
        }
        equal(null, client.peek(), "kept")
        client.close()
        equal(1, lane.tokenRequests(), "requests")
    }

    test("end: a closed client answers every verb with an error or nothing, never with a crash") {
        val lane = Lane()
        val client = lane.client("rapidomize").withSubject("bob", lane.mint("bob"))
        val token = client.tokenBlocking()
        client.close()
        val verbs = listOf<() -> Any?>(
            { client.tokenBlocking(Duration.ZERO, true) },
            { client.headersBlocking("GET", lane.url("rapidomize")) },
            { client.rejectBlocking(token, "GET", lane.url("rapidomize"), 401) },
            { client.authorizationUrlBlocking() },
            { client.exchangeBlocking("code=a&state=b", "session") },
            { client.insecureUrlBlocking(lane.url("rapidomize")) },
            { client.withSubject("ann", "refresh").tokenBlocking() },
            { client.invalidateBlocking() },
            { client.close() },
            { token.accessToken + token.expiresIn() },
        )
        verbs.forEach { verb -> runCatching { verb() }.exceptionOrNull()?.let { check(it is RemintException) { it.stackTraceToString() } } }
    }

    test("end: close during a pause ends it, and tells who waits") {
        val lane = Lane()
        lane.fault { put("status", 503); put("retry_after", "20"); put("count", JsonNull) }
        val client = lane.client()
        val call = client.tokenAsync(Duration.ZERO, false, Duration.ofSeconds(60))
        eventually("a request") { lane.count("token/by_status/503") == 1L }
        client.close()
        val error = within(20) { runCatching { call.get() }.exceptionOrNull()?.cause }
        check(error is RemintException && error.code in listOf("closed", "server_unavailable")) { error }
    }

    test("end: a rotation that was sent runs through its save before close comes back") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 500) }
        val refreshToken = lane.mint("bob")
        var saved: String? = null
        val client = lane.client("rapidomize").withSubject("bob", refreshToken) { token, _ ->
            Thread.sleep(200)
            saved = token
        }
        val call = client.tokenAsync()
        eventually("a request") { lane.count("token/running") == 1L }
        client.close()
        check(saved != null && saved != refreshToken) { "it was not saved" }
        runCatching { call.get() }
        lane.client("rapidomize").withSubject("bob", saved).tokenBlocking()
        equal(0, lane.count("refresh_tokens_reused"), "reused")
    }

    test("end: many threads that ask while another closes get a token or `closed`, and nobody hangs") {
        repeat(20) {
            val client = Lane().client()
            val closing = inThread { client.close() }
            val outcomes = inThreads(8) { client.tokenBlocking() }
            closing.get()
            outcomes.mapNotNull { it.exceptionOrNull() }.forEach { check(it is RemintException && it.code == "closed") { it.stackTraceToString() } }
        }
    }
}

private fun Suite.processes() {
    test("end: a client that nobody closes holds no process") {
        val (code, text, took) = program("token", Lane())
        equal(0 to "Bearer", code to text, "outcome")
        check(took < 15_000) { "$took ms" }
    }

    test("end: a caller who waits holds the process until there is a token") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 1_500) }
        val (code, text, _) = program("token", lane)
        equal(0 to "Bearer", code to text, "outcome")
    }

    test("end: a request that nobody waits for holds the process no longer than `requestTimeout`") {
        val lane = Lane()
        lane.fault { put("hold", true); put("count", JsonNull) }
        val (code, text, took) = program("leave", lane)
        lane.release()
        equal(0 to "", code to text, "outcome")
        check(took < 15_000) { "$took ms" }
    }

    test("end: a pause before the next attempt holds no process") {
        val lane = Lane()
        lane.fault { put("status", 503); put("retry_after", "25"); put("count", JsonNull) }
        val (code, text, took) = program("leave", lane)
        equal(0 to "", code to text, "outcome")
        check(took < 15_000) { "$took ms" }
    }

    test("end: a process that ends does not lose the refresh token in the air") {
        val lane = Lane()
        lane.settings { put("token_latency_ms", 1_500) }
        val saved = Files.createTempFile("remint-saved", ".txt")
        val (code, text, _) = program("rotate", lane, lane.mint("bob"), "$saved")
        equal(0 to "", code to text, "outcome")
        lane.settings { put("token_latency_ms", 0) }
        val refreshToken = Files.readString(saved).also { Files.delete(saved) }
        check(refreshToken.isNotEmpty()) { "the new refresh token was not saved" }
        lane.client("rapidomize").withSubject("bob", refreshToken).tokenBlocking()
        equal(0, lane.count("refresh_tokens_reused"), "reused")
    }

    test("end: a process whose common pool is blocked gets its token") {
        val (code, text, _) = program("pool", Lane(), options = listOf("-Djava.util.concurrent.ForkJoinPool.common.parallelism=2"))
        equal(0 to "Bearer", code to text, "outcome")
    }

    test("end: a token may be asked for in a shutdown hook") {
        val (code, text, _) = program("hook", Lane())
        equal(0 to "Bearer", code to text, "outcome")
    }

    test("end: 200 threads in all kinds of calls while the process ends do not crash it") {
        repeat(3) {
            val (code, text, _) = program("storm", Lane())
            equal(0 to "", code to text, "outcome")
        }
    }
}

/** Runs one of the programs below in a JVM of its own: its exit status, what it printed, and how long it took in milliseconds. */
private fun program(name: String, lane: Lane, vararg words: String, options: List<String> = emptyList()): Triple<Int, String, Long> {
    val java = Path.of(System.getProperty("java.home"), "bin", "java").toString()
    val folder = Files.createTempDirectory("remint-program")
    val classes = System.getProperty("java.class.path").split(File.pathSeparator).joinToString(File.pathSeparator) { Path.of(it).toAbsolutePath().toString() }
    // Else there is a warning for whoever loads a native library, since JDK 24.
    val access = if (Runtime.version().feature() >= 24) listOf("--enable-native-access=ALL-UNNAMED") else emptyList()
    val command = listOf(java) + access + options + listOf("-cp", classes, "dev.remint.hosts.EndingsKt", name, lane.url("")) + words
    val started = System.nanoTime()
    val process = ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start()
    val text = inThread { process.inputStream.bufferedReader().readText() }
    try {
        check(process.waitFor(60, TimeUnit.SECONDS)) { "$name: the process does not end" }
        val crashes = Files.list(folder).use { files -> files.map { it.fileName.toString() }.filter { it.startsWith("hs_err") }.toList() }
        check(crashes.isEmpty()) { "$name: the JVM crashed: ${Files.readString(folder.resolve(crashes.first())).take(2_000)}" }
        return Triple(process.exitValue(), text.get().trim(), (System.nanoTime() - started) / 1_000_000)
    } finally {
        process.destroyForcibly()
        folder.toFile().deleteRecursively()
    }
}

/** The programs that end in some way or other. */
fun main(words: Array<String>) {
    val (name, base) = words
    val wallet by lazy {
        Client("phoenix-wallet", CLIENT_ID, SECRET, listOf("wallets:read")) {
            variable("token_endpoint", "${base}phoenix-wallet/oauth/token").variable("base_url", "${base}phoenix-wallet")
            allowLoopbackHttp(true).requestTimeout(Duration.ofSeconds(3))
        }
    }
    when (name) {
        "token" -> println(wallet.tokenBlocking().tokenType)
        "leave" -> {
            wallet.tokenAsync(Duration.ZERO, false, Duration.ofSeconds(40))
            Thread.sleep(500)
        }
        "rotate" -> {
            val client = Client("rapidomize", CLIENT_ID, SECRET) {
                variable("grant", "authorization_code").variable("token_endpoint", "${base}rapidomize/oauth/token")
                variable("authorization_endpoint", "${base}rapidomize/oauth/authorize").variable("base_url", "${base}rapidomize")
                allowLoopbackHttp(true)
            }
            client.withSubject("bob", words[2]) { token, _ -> Files.writeString(Path.of(words[3]), token) }.tokenAsync()
            Thread.sleep(500)
        }
        "pool" -> {
            val blocked = CountDownLatch(2)
            repeat(4) {
                ForkJoinPool.commonPool().execute {
                    blocked.countDown()
                    CountDownLatch(1).await()
                }
            }
            blocked.await()
            println(wallet.tokenBlocking(Duration.ZERO, false, Duration.ofSeconds(8)).tokenType)
        }
        "hook" -> {
            wallet.peek()
            Runtime.getRuntime().addShutdownHook(Thread { println(wallet.tokenBlocking().tokenType) })
        }
        "storm" -> {
            repeat(200) { number ->
                val run = Runnable {
                    while (true) {
                        runCatching { wallet.tokenBlocking(Duration.ofSeconds(number.toLong())) }
                        runCatching { wallet.invalidateBlocking() }
                        runCatching { wallet.withScope("scope-$number").headersBlocking("GET", base) }
                    }
                }
                Thread(null, run, "storm-$number", 256 * 1024).apply { isDaemon = true }.start()
            }
            Thread.sleep(700)
        }
        else -> exitProcess(2)
    }
}
