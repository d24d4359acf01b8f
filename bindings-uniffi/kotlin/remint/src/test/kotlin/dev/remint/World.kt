package dev.remint

import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.atomic.AtomicLong
import java.util.concurrent.atomic.AtomicReference

/** Clocks that go on only when told to. Timers fire as the clocks pass them, on the thread that moves the clocks. */
class TestClock(wall: Long = 1_700_000_000_000) : Clock {
    private val wall = AtomicLong(wall)
    private val boot = AtomicLong(0)
    private val timers = ConcurrentLinkedQueue<Pair<Long, Runnable>>()

    val pending: Int get() = timers.size

    override fun wall(): Long = wall.get()

    override fun boot(): Long = boot.get()

    override fun schedule(millis: Long, task: Runnable): AutoCloseable {
        val timer = (boot.get() + millis) to task
        timers += timer
        return AutoCloseable { timers.removeIf { it === timer } }
    }

    fun advance(millis: Long) {
        wall.addAndGet(millis)
        val now = boot.addAndGet(millis)
        timers.filter { (at, _) -> at <= now }.forEach { timer -> if (timers.removeIf { it === timer }) timer.second.run() }
    }

    fun jump(millis: Long) {
        wall.addAndGet(millis)
    }
}

/** An authorization server without a network. [answer] is asked for each request. */
class TestServer(@Volatile var answer: (HttpRequest) -> CompletionStage<HttpResponse> = { completed(token("T1")) }) : Transport {
    val requests = ConcurrentLinkedQueue<HttpRequest>()

    val count: Int get() = requests.size

    override fun send(request: HttpRequest): CompletionStage<HttpResponse> {
        requests += request
        return answer(request)
    }

    companion object {
        fun token(token: String, expiresIn: Int = 3600, more: String = ""): HttpResponse =
            json(200, """{"access_token":"$token","token_type":"Bearer","expires_in":$expiresIn$more}""")

        fun json(status: Int, text: String): HttpResponse =
            HttpResponse(status, mapOf("content-type" to listOf("application/json")), text.toByteArray())

        fun <T> completed(value: T): CompletableFuture<T> = CompletableFuture.completedFuture(value)
    }
}

/** A client of [server], with the options that every test would name otherwise. */
fun client(server: Transport, clock: Clock = TestClock(), configure: Builder.() -> Unit = {}): Client =
    Client("phoenix-wallet", "id", "s3cret") {
        http(server)
        clock(clock)
        configure()
    }

/** Everything that was noticed, as `name` or `name:detail`. */
class Notices : java.util.function.Consumer<Notice> {
    val all = ConcurrentLinkedQueue<String>()

    override fun accept(notice: Notice) {
        all += listOfNotNull(notice.name, notice.detail).joinToString(":")
    }
}

/** The [RemintException] that [block] throws. */
inline fun <reified T : RemintException> thrown(block: () -> Unit): T {
    try {
        block()
    } catch (expected: RemintException) {
        return expected as? T ?: throw AssertionError("another family: $expected", expected)
    }
    throw AssertionError("nothing was thrown")
}
