package dev.remint.redis

import java.io.IOException
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.TimeUnit

/** A `redis-server` of the machine's, on a free port of the loopback interface, until it is closed. */
class RedisServer(private val folder: Path, private vararg val options: String, val port: Int = freePort()) : AutoCloseable {
    val address = "redis://127.0.0.1:$port"
    private var process = start()

    /** What `redis-cli` would print for a command of plain words: the first line of the answer. */
    fun ask(vararg words: String): String = Socket(InetAddress.getLoopbackAddress(), port).use { socket ->
        socket.getOutputStream().write((words.joinToString(" ") + "\r\n").toByteArray())
        checkNotNull(socket.getInputStream().bufferedReader().readLine()) { "Redis hung up" }
    }

    fun stop() {
        process.destroyForcibly()
        check(process.waitFor(20, TimeUnit.SECONDS)) { "redis-server does not end" }
    }

    fun restart() {
        stop()
        process = start()
    }

    override fun close() = stop()

    private fun start(): Process {
        val log = Files.createTempFile(folder, "redis", ".log")
        val words = if (options.firstOrNull()?.endsWith(".conf") == true) options.toList() else listOf("--save", "", "--appendonly", "no", *options)
        val (configuration, others) = words.partition { it.endsWith(".conf") }
        val command = listOf("redis-server") + configuration + listOf("--bind", "127.0.0.1", "--port", "$port", "--dir", "$folder") + others
        val started = ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start()
        for (attempt in 1..600) {
            check(started.isAlive) { "redis-server has ended: ${Files.readString(log)}" }
            if (runCatching { ask("PING") }.getOrNull() == "+PONG") return started
            Thread.sleep(25)
        }
        started.destroyForcibly()
        throw IOException("redis-server does not answer: ${Files.readString(log)}")
    }

    companion object {
        /** A port that nobody listened to a moment ago. Redis wants another one 10,000 above it for its cluster. */
        fun freePort(): Int =
            generateSequence { ServerSocket(0, 1, InetAddress.getLoopbackAddress()).use { it.localPort } }.first { it < 55_000 }
    }
}

/** Waits for what comes about beside the test. */
fun eventually(what: String, isThere: () -> Boolean) {
    for (attempt in 1..1_000) {
        if (isThere()) return
        Thread.sleep(20)
    }
    throw AssertionError("it never came about: $what")
}
