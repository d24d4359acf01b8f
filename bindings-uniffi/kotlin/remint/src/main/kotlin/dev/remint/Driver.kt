package dev.remint

import dev.remint.core.Answer
import dev.remint.core.Core
import dev.remint.core.Event
import dev.remint.core.FailureKind
import dev.remint.core.Now
import dev.remint.core.Operation
import dev.remint.core.Provision
import dev.remint.core.Renewed
import dev.remint.core.Secret
import dev.remint.core.SecretBytes
import dev.remint.core.Step
import dev.remint.core.Want
import java.lang.ref.WeakReference
import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CompletionStage
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.Executor
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.locks.ReentrantLock
import java.util.function.Consumer
import java.util.function.IntFunction
import java.util.function.Supplier
import java.util.logging.Level
import java.util.logging.Logger
import kotlin.concurrent.withLock
import dev.remint.core.Lease as CoreLease

/** One wish, and the lease that answers it without a look into the core. */
internal class View(val want: Want) {
    @Volatile var lease = Lease(null, 0)

    /** Its cache key, once there was a token. */
    @Volatile var key: String? = null
}

/** A token that is answered from without asking the core, while both clocks are before their `recheck`. */
internal class Lease(val token: Token?, val generation: Long) {
    @Volatile var recheck = Long.MIN_VALUE
    @Volatile var recheckWall = Long.MIN_VALUE
}

/** How a caller wants a token, in the core's own terms. [isCall]: for an API call, whose repetition the core knows by its name. */
internal class Ask(val minTtl: Long, val force: Boolean, val deadline: Long?, val call: String?, val isCall: Boolean)

/** The functions that give what is exchanged for a token: of the user's name for the subject, or null. */
internal class Grants {
    var subjectToken: TokenSupplier? = null
    var actorToken: TokenSupplier? = null
    var assertion: TokenSupplier? = null
}

/** Everything that the loop needs of its surroundings. */
internal class Host(
    val transport: Transport,
    val executor: Executor,
    val clock: Clock,
    val random: IntFunction<ByteArray>,
    val clientSecret: Supplier<String>?,
    val clientAssertion: Supplier<String>?,
    val grants: Grants,
    val keys: Keys,
    val certificate: ClientCertificate?,
    val store: SharedStore?,
    val onNotice: Consumer<Notice>?,
)

/** The one loop: gives the core events, and does what it answers. It decides nothing. */
internal class Driver(private val core: Core, private val host: Host) {
    val clock: Clock = host.clock

    /** Wishes whose token an API refused last: the core wants to hear of the first answer after that, too. */
    val refused: MutableSet<Want> = ConcurrentHashMap.newKeySet()

    /** Told of new refresh tokens, by subject alone. */
    val onRotated = ConcurrentHashMap<Want, OnRotated>()

    // Held for one step of the core and what it does to these three: never while anything is waited for or called.
    private val lock = ReentrantLock()
    private val flights = HashMap<String, Flight>()
    private val leases = LinkedHashMap<String, Lease>()
    private val entropy = ByteBuffer.allocateDirect(ENTROPY)

    private val running: MutableSet<CompletableFuture<Unit>> = ConcurrentHashMap.newKeySet()

    /** What the store threw, by operation, until the core has been told. */
    private val storeFailures = ConcurrentHashMap<String, Exception>()

    /** The token that may be answered with now. This is the whole hot path. */
    fun fresh(view: View): Token? {
        val lease = view.lease
        return if (clock.wall() < lease.recheckWall && clock.boot() < lease.recheck) lease.token else null
    }

    /** Tells the core what happened, does what follows, and gives the answer. */
    fun handle(event: Event): Answer? = step(event) { it.answer } as Answer?

    /** The same for an event whose answer may be a failure, which is thrown. */
    fun ask(event: Event): Answer? {
        val answer = handle(event)
        if (answer is Answer.Fail) throw answer.failure.toException()
        return answer
    }

    /** A token for a caller, who may cancel the future; the flight that it waits for goes on for the others. */
    fun acquire(view: View, ask: Ask): CompletableFuture<Token> = acquisition(view, ask).apply { again(null, null) }

    /** The same after an event that began a flight. If [isSole], nobody else waits for that: it ends with the caller. */
    fun acquire(view: View, ask: Ask, start: Event, isSole: Boolean): CompletableFuture<Token> = acquisition(view, ask).apply {
        advance(start, null, null)
        if (isSole) whenComplete { _, _ -> if (isCancelled) flight?.let { handle(Event.Cancel(it)) } }
    }

    /** The answer to a question that is asked again after each flight that it has to wait for. */
    fun <T : Any> inquire(read: (Answer) -> T, question: (after: String?) -> Event): CompletableFuture<T> =
        Inquiry(null, question) { answer, _ -> read(answer) }.apply { again(null, null) }

    /** Goes on with other keys, or with another certificate. What is under way may still ask for the ones before. */
    fun renew(signingKey: SigningKey?, dpop: SigningKey?, credential: Credential?) {
        val certificate = if (credential == null) null else host.certificate ?: throw misuse("this client was made without `clientCertificate`: make another with one")
        certificate?.check(credential)
        val told = Renewed(null, signingKey?.let { toJson("signingKey", it.told()) }, dpop?.let { toJson("dpop", it.toldAsDpop(host.keys.isDpopRequired)) })
        host.keys.add(signingKey, dpop)
        if (signingKey != null || dpop != null) ask(Event.Renewed(told))
        if (credential == null) return
        certificate?.replace(credential)
        ask(Event.Renewed(Renewed(tlsId = credential.tlsId)))
    }

    /** No new work. The future is done when what was under way has ended. */
    fun close(): CompletableFuture<Void> {
        handle(Event.Close)
        return CompletableFuture.allOf(ended(), host.store?.close() ?: CompletableFuture.completedFuture(null))
    }

    /** Shows a notice. Whatever the user's function does with it, nothing here depends on it. */
    fun notify(notice: Notice) {
        try {
            host.onNotice?.accept(notice)
        } catch (thrown: Throwable) {
            LOGGER.log(Level.WARNING, "the function `onNotice` failed", thrown)
        }
    }

    private fun ended(): CompletableFuture<Void> {
        val now = running.toTypedArray()
        if (now.isEmpty()) return CompletableFuture.completedFuture(null)
        // What ends may have begun something else, such as saving what was received.
        return CompletableFuture.allOf(*now).thenCompose { ended() }
    }

    /** One step of the core. [read] sees it under the lock, what follows from it is done outside. */
    private fun step(event: Event, read: (Step) -> Any?): Any? {
        val drawn = host.random.apply(ENTROPY)
        if (drawn.size != ENTROPY) throw misuse("the function `random` must give as many bytes as it is asked for")
        val landed = ArrayList<Flight>(0)
        val (step, result) = lock.withLock {
            entropy.duplicate().put(drawn)
            val step = take(event)
            absorb(step, landed)
            step to read(step)
        }
        step.operations.forEach(::start)
        val cause = if (event is Event.Stored) storeFailures.remove(event.op) else null
        for (notice in step.notices) notify(Notice(notice.name, notice.detail, notice.key, notice.flight, cause))
        for (flight in landed) flight.complete(flight.cause)
        return result
    }

    private fun take(event: Event): Step = try {
        core.handle(event, Now(clock.wall(), clock.boot()), entropy)
    } catch (_: CharacterCodingException) {
        throw misuse("a text holds half a character (a surrogate without the other): see where it was cut")
    }

    private fun absorb(step: Step, landed: MutableList<Flight>) {
        val answer = step.answer
        // Known before anything else happens: a flight may be over in the very step that began it.
        if (answer is Answer.Wait) flight(answer.flight)
        if (answer is Answer.Use) for (operation in step.operations) operation.flightId?.let { flight(it).key = answer.lease.key }
        for ((withdrawn, generation) in step.withdraw) {
            for (key in withdrawn?.let(::listOf) ?: leases.keys.toList()) {
                val lease = leases[key] ?: continue
                if (generation == null || lease.generation <= generation) drop(key)
            }
        }
        for (id in step.settled) {
            val flight = flights.remove(id) ?: continue
            // A lease that was given during the flight knows nothing of how it ended: the next caller asks.
            flight.key?.let(::drop)
            landed += flight
        }
    }

    private fun flight(id: String): Flight = flights.getOrPut(id, ::Flight)

    private fun drop(key: String) {
        val lease = leases.remove(key) ?: return
        lease.recheck = Long.MIN_VALUE
        lease.recheckWall = Long.MIN_VALUE
    }

    /**
     * Makes a token of a lease, and keeps the lease where it may be used again. A lease that was waited for names a call in
     * which the token was minted: it is no other caller's, who have one of their own.
     */
    private fun keep(view: View, use: CoreLease, isOwn: Boolean): Token {
        var lease = leases[use.key]
        if (lease?.generation != use.generation && clock.boot() < use.recheck && clock.wall() < use.recheckWall) {
            // One for each cache key, so that withdrawing it reaches everybody.
            drop(use.key)
            if (leases.size >= MAX_LEASES) drop(leases.keys.first())
            lease = Lease(Token(use.copy(call = use.leaseCall), clock), use.generation)
            leases[use.key] = lease
        }
        if (lease?.generation == use.generation) {
            lease.recheck = use.recheck
            lease.recheckWall = use.recheckWall
            view.lease = lease
        }
        view.key = use.key
        return lease?.token?.takeUnless { isOwn || lease.generation != use.generation } ?: Token(use, clock)
    }

    private fun start(operation: Operation) {
        when (operation) {
            is Operation.Sleep -> at(operation.until) { handle(Event.Tick(operation.flight)) }
            is Operation.Send -> run(operation.op, operation.flight, operation.until, ::failureKind) { send(operation) }
            is Operation.Provide -> call(operation.op, operation.flight, operation.until) {
                Event.Provided(operation.op, provide(operation.what))
            }
            is Operation.Store -> store(operation)
            is Operation.Sign -> sign(operation, host.keys.named(operation.key))
            // As with a key in memory: another thread would take longer.
            is Operation.Verify -> call(operation.op, operation.flight, operation.until, Executor(Runnable::run)) {
                Event.Verified(operation.op, operation.run { isSignature(key, alg, input.expose(), signature) })
            }
        }
    }

    private fun store(operation: Operation.Store) = call(operation.op, operation.flight, operation.until) {
        val store = host.store ?: throw misuse("there is no `store` that could answer")
        store.listen(News(this))
        val (result, failed) = store.answer(operation.key, operation.command)
        if (failed != null) storeFailures[operation.op] = failed
        blame(operation.flight, failed)
        Event.Stored(operation.op, result)
    }

    private fun sign(operation: Operation.Sign, key: SigningKey?) {
        // A key in memory takes less time than another thread would.
        val executor = if (key?.isInMemory == true) Executor(Runnable::run) else host.executor
        call(operation.op, operation.flight, operation.until, executor) {
            if (key == null) throw misuse("there is no key `${operation.key}` that could sign")
            Event.Signed(operation.op, base64(key.signer.sign(operation.input.toByteArray(), operation.alg)))
        }
    }

    private fun send(operation: Operation.Send): CompletionStage<Event> {
        val (method, url, headers, body) = operation.request
        val left = Duration.ofMillis((operation.until - clock.boot()).coerceAtLeast(1))
        // Files may hold another certificate than they did: the core hears of it, and the connection is made with that one.
        val tlsId = host.certificate?.renewed { handle(Event.Renewed(Renewed(tlsId = it))) } ?: operation.tlsId
        val request = HttpRequest(method, url.expose(), headers.toMap(), body?.expose()?.toByteArray(), left, operation.cap, tlsId)
        return host.transport.send(request).thenApply { answer ->
            if (answer.body.size > operation.cap) throw TransportFailure(TransportFailure.Kind.TOO_LARGE)
            Event.Received(operation.op, answer.status, answer.headers.toLines(), SecretBytes(answer.body))
        }
    }

    private fun provide(what: Provision): Secret? {
        when (what) {
            is Provision.Rotated -> onRotated[Want(what.subject)]?.save(what.refreshToken.expose(), what.subject)
            // Whoever wrote the function in Java may give none.
            is Provision.ClientSecret -> return given("clientSecret", host.clientSecret?.get())
            is Provision.ClientAssertion -> return given("clientAssertion", host.clientAssertion?.get())
            is Provision.SubjectToken -> return given("subjectToken", host.grants.subjectToken?.get(what.subject))
            is Provision.ActorToken -> return given("actorToken", host.grants.actorToken?.get(what.subject))
            is Provision.Assertion -> return given("assertion", host.grants.assertion?.get(what.subject))
        }
        return null
    }

    private fun given(name: String, text: String?) = Secret(text ?: throw misuse("the function `$name` must give a string"))

    /** Calls a function of the user's, which may block. */
    private fun call(op: String, flight: String, until: Long, executor: Executor = host.executor, function: () -> Event) =
        run(op, flight, until, { FailureKind.HOST_ERROR }) { CompletableFuture.supplyAsync(function, executor) }

    /** Carries out one operation and reports how it ended: in time, or late. */
    private fun run(op: String, flightId: String, until: Long, kindOf: (Throwable) -> FailureKind, work: () -> CompletionStage<Event>) {
        val ended = CompletableFuture<Unit>().also(running::add)
        val isReported = AtomicBoolean()
        // With the clocks of a test it might never end.
        if (clock === SystemClock) Threads.hold(ended)
        fun end() {
            running.remove(ended)
            Threads.release(ended)
            ended.complete(Unit)
        }
        val alarm = at(until) {
            if (isReported.compareAndSet(false, true)) handle(Event.Failed(op, FailureKind.TIMEOUT))
            end()
        }
        val stage = try {
            work()
        } catch (thrown: Throwable) {
            CompletableFuture<Event>().apply { completeExceptionally(thrown) }
        }
        stage.whenComplete { event, thrown ->
            alarm.close()
            try {
                val isFirst = isReported.compareAndSet(false, true)
                // What the store threw is not why a server then says no.
                if (thrown == null && event !is Event.Stored) blame(flightId, null)
                // Late or not: there may be a new refresh token in it.
                val error = thrown?.unwrapped() ?: runCatching { ask(event) }.exceptionOrNull()
                if (isFirst && error != null) {
                    blame(flightId, error)
                    handle(Event.Failed(op, if (error is Exception) kindOf(error) else FailureKind.ABANDONED))
                }
            } finally {
                end()
            }
        }
    }

    /** What the flight's end will be put down to, if it ends with this operation. */
    private fun blame(flightId: String, cause: Throwable?) = lock.withLock { flights[flightId]?.cause = cause }

    /** Calls [task] at a point of the boot clock, never earlier; closing the result cancels it. */
    private fun at(until: Long, task: Runnable): AutoCloseable = Alarm(until, task).apply { arm() }

    /** What the store tells a client that somebody still has: it does not keep one that nobody has. */
    private class News(driver: Driver) : Consumer<String?> {
        private val told = WeakReference(driver)

        override fun accept(key: String?) {
            told.get()?.handle(Event.Changed(key))
        }
    }

    /** A flight in the air: done when it has landed, with the host's own error if that ended it. */
    private class Flight : CompletableFuture<Throwable?>() {
        /** Whose token it renews, if that is known. */
        var key: String? = null
        var cause: Throwable? = null
    }

    private fun acquisition(view: View, ask: Ask): Inquiry<Token> {
        val question = { after: String? -> Event.Ask(view.want, ask.minTtl, ask.force, ask.deadline, after, ask.call) }
        return Inquiry(view, question) { answer, isWaited -> keep(view, (answer as Answer.Use).lease, isOwn = isWaited || ask.isCall) }
    }

    /** One caller's question, which that caller may cancel. [read] sees the answer while flights and leases are as its step left them. */
    private inner class Inquiry<T : Any>(
        private val view: View?,
        private val question: (after: String?) -> Event,
        private val read: (answer: Answer, isWaited: Boolean) -> T,
    ) : CompletableFuture<T>() {
        /** What it waits for, or waited for last. */
        @Volatile var flight: String? = null

        /** What the store threw, if it did: while it is left alone for that, later flights have nothing to say of their own. */
        @Volatile private var thrown: Throwable? = null

        fun advance(event: Event, after: String?, cause: Throwable?): Unit = completing {
            when (val outcome = step(event) { it.outcome(isWaited = after != null) }) {
                is Waiting -> wait(outcome)
                is Answer.Fail -> throw outcome.failure.run { toException(cause ?: thrown.takeIf { code == "store_unavailable" }) }
                else -> {
                    @Suppress("UNCHECKED_CAST") // It is neither of the two above, so `read` gave it.
                    complete(outcome as T)
                }
            }
        }

        fun again(after: String?, cause: Throwable?) {
            if (cause != null) thrown = cause
            if (!isDone) advance(question(after), after, cause)
        }

        private fun Step.outcome(isWaited: Boolean): Any? = when (val answer = answer) {
            is Answer.Fail, null -> answer
            is Answer.Wait -> Waiting(answer, flights[answer.flight]?.also { if (it.key == null) it.key = view?.key })
            else -> read(answer, isWaited)
        }

        /** Asks again when the flight has landed, which it may have in the very step that began it, or the time has come. */
        private fun wait(waiting: Waiting) {
            val id = waiting.answer.flight
            flight = id
            val woken = CompletableFuture<Throwable?>()
            val alarm = at(waiting.answer.until) { woken.complete(null) }
            woken.thenAccept { cause ->
                alarm.close()
                again(id, cause)
            }
            if (waiting.flight == null) woken.complete(null) else waiting.flight.thenAccept(woken::complete)
            // Whoever leaves takes the timer along.
            whenComplete { _, _ -> alarm.close() }
        }
    }

    /** A flight to wait for, unless it has landed already. */
    private class Waiting(val answer: Answer.Wait, val flight: Flight?)

    private inner class Alarm(private val until: Long, private val task: Runnable) : Runnable, AutoCloseable {
        @Volatile private var isClosed = false
        @Volatile private var timer: AutoCloseable? = null

        fun arm() {
            timer = clock.schedule((until - clock.boot()).coerceIn(0, MAX_TIMER), this)
            if (isClosed) timer?.close()
        }

        override fun run() {
            if (isClosed) return
            if (clock.boot() < until) arm() else task.run()
        }

        override fun close() {
            isClosed = true
            timer?.close()
        }
    }

    private companion object {
        val LOGGER: Logger = Logger.getLogger("dev.remint")
        const val ENTROPY = 32

        /** No timer runs longer, in milliseconds, before the clocks are read again: they know of suspension, timers may not. */
        const val MAX_TIMER = 3_600_000L

        /** Whoever holds more tokens than this asks the core for the others. */
        const val MAX_LEASES = 10_000
    }
}

/** The flight that it belongs to, if it renews a token beside the one that is in use. */
private val Operation.flightId: String?
    get() = when (this) {
        is Operation.Send -> flight
        is Operation.Sign -> flight
        is Operation.Verify -> flight
        is Operation.Provide -> flight
        is Operation.Store -> flight
        is Operation.Sleep -> null
    }
