package dev.remint.vectors

import dev.remint.Clock
import dev.remint.HttpRequest
import dev.remint.HttpResponse
import dev.remint.Notice
import dev.remint.Transport
import dev.remint.core.Now
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage

/** Everything around a client under test: clocks, timers, the wire. */
internal class World(start: Now) : Clock, Transport {
    private class Timer(val due: Long, val task: Runnable)

    private val timers = mutableListOf<Timer>()
    private val onTheWire = mutableListOf<Pending>()
    private val heard = mutableListOf<String>()

    @Volatile
    var now = start

    val requests: List<Pending> get() = synchronized(onTheWire) { onTheWire.toList() }
    val notices: List<String> get() = synchronized(heard) { heard.toList() }

    override fun wall(): Long = now.wall

    override fun boot(): Long = now.boot

    override fun schedule(millis: Long, task: Runnable): AutoCloseable {
        val timer = Timer(now.boot + millis, task)
        synchronized(timers) { timers += timer }
        return AutoCloseable { synchronized(timers) { timers -= timer } }
    }

    /** Runs the next timer that is due; whether there was one. */
    fun runDue(): Boolean {
        val due = synchronized(timers) {
            timers.filter { it.due <= now.boot }.minByOrNull { it.due }?.also { timers -= it }
        }
        due?.task?.run()
        return due != null
    }

    override fun send(request: HttpRequest): CompletionStage<HttpResponse> =
        Pending(request).also { synchronized(onTheWire) { onTheWire += it } }.answer

    fun notice(notice: Notice) {
        synchronized(heard) { heard += if (notice.detail == null) notice.name else "${notice.name}:${notice.detail}" }
    }

    fun forgetNotices() = synchronized(heard) { heard.clear() }
}

/** A token request on the wire. */
internal class Pending(private val request: HttpRequest) {
    val answer = CompletableFuture<HttpResponse>()

    fun json(): JsonObject = members(
        "method" to request.method,
        "url" to request.url,
        "headers" to JsonArray(request.headers.map { (name, value) -> JsonArray(listOf(JsonPrimitive(name), JsonPrimitive(value))) }),
        "body" to request.body?.decodeToString(),
    )
}
