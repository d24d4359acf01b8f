package dev.remint.vectors

import dev.remint.core.Answer
import dev.remint.core.Core
import dev.remint.core.Event
import dev.remint.core.Now
import dev.remint.core.Operation
import dev.remint.core.SecretBytes
import dev.remint.core.Want
import kotlinx.serialization.json.JsonElement
import java.util.PriorityQueue

/** A stretch of time with a caller at every tick and a server that always says the same: see ../README.md of the vectors. */
internal fun simulate(core: Core, start: Now, entropy: ByteArray, value: JsonElement) {
    val fields = Fields("`simulate`", value)
    val length = fields.needLong("for")
    val every = fields.needLong("every")
    val latency = fields.needLong("latency")
    val bound = fields.needLong("requests_at_most")
    val served = fields.flag("served") ?: true
    val reply = readAnswer(fields)
    fields.end()

    class Due(val at: Long, val order: Long, val event: (requests: Long) -> Event)
    class Waiter(val flight: String, val until: Long, val deadline: Long)

    val agenda = PriorityQueue(compareBy<Due>({ it.at }, { it.order }))
    var (requests, callers, order) = listOf(0L, 0L, 0L)
    var nextAsk = 0L
    var waiters = emptyList<Waiter>()
    val text = reply.body.decodeToString()
    val lines = headers(reply.headers)
    fun ask(after: String?, deadline: Long?) = Event.Ask(Want(), 0, false, deadline, after, null)

    while (nextAsk <= length || agenda.isNotEmpty()) {
        // Callers come in order; they need no place on the agenda.
        val isAsk = nextAsk <= length && (agenda.isEmpty() || nextAsk <= agenda.element().at)
        val due = if (isAsk) null else agenda.remove()
        val at = due?.at ?: nextAsk
        if (at > length) break
        val now = Now(start.wall + at, start.boot + at)
        val events = ArrayDeque<Pair<Event, Long?>>()
        if (due == null) {
            nextAsk += every
            callers += 1
            events += ask(null, null) to now.boot + 30_000
        } else {
            events += due.event(requests) to null
        }
        while (events.isNotEmpty()) {
            val (event, deadline) = events.removeLast()
            val step = core.handle(event, now, entropy)
            for (operation in step.operations) {
                when (operation) {
                    is Operation.Send -> {
                        requests += 1
                        agenda += Due(at + latency, order++) { soFar ->
                            Event.Received(operation.op, reply.status, lines, SecretBytes(text.replace("{n}", soFar.toString()).toByteArray()))
                        }
                    }
                    is Operation.Sleep -> agenda += Due(maxOf(operation.until - start.boot, at), order++) { Event.Tick(operation.flight) }
                    else -> throw Problem("  an operation that a simulation cannot answer: $operation")
                }
            }
            if (deadline != null) {
                when (val answer = step.answer) {
                    is Answer.Wait -> waiters = waiters + Waiter(answer.flight, answer.until, deadline)
                    is Answer.Use -> if (!served || answer.lease.expires <= now.boot) throw Problem("  a caller got a token that was not to be had at ${now.boot}")
                    else -> if (served) throw Problem("  a caller was not served at ${now.boot}: $answer")
                }
            }
            val (woken, asleep) = waiters.partition { it.flight in step.settled || it.until <= now.boot }
            waiters = asleep
            woken.forEach { events += ask(it.flight, it.deadline) to it.deadline }
        }
    }
    if (requests > bound) throw Problem("    requests\n      expected at most $bound\n      came     $requests, for $callers callers")
}
